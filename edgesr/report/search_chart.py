"""Chart of a search: what every trained design loses, against what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgesr.report.chart import axis, chart, layout
from edgesr.report.figures import gain, gain_axis, line, pareto_front
from edgesr.report.palette import Palette

Section = Mapping[str, Any]


@chart
def designs(report: Section, palette: Palette) -> dict[str, Any] | None:
    """Change of MPSNR on validation against MACs, with the front; None without a search."""
    found = report.get("search")
    trained = [t for t in found["trials"] if t["validation"]] if found else []
    if not found or not trained:
        return None
    front = pareto_front(trained, "macs")
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "name": "Pareto front",
            "x": [_giga(t) for t in front], "y": [gain(t) for t in front],
            "line": {"color": palette.muted, "width": 1.5, "shape": "hv"}, "hoverinfo": "skip",
        }
    ]  # fmt: skip
    groups = (
        ("design", [t for t in trained if t["number"]], "student", "circle"),
        ("upsampler alone", [t for t in trained if not t["number"]], "alone", "diamond"),
    )
    for name, members, colour, symbol in groups:
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": name,
                "x": [_giga(t) for t in members], "y": [gain(t) for t in members],
                "marker": {"color": palette.of(colour), "size": 10, "symbol": symbol,
                           "line": {"color": palette.background, "width": 1}},
                "customdata": [[t["number"], t["label"], t["latency_ms"]] for t in members],
                "hovertemplate": "<b>trial %{customdata[0]}</b>: %{customdata[1]}<br>"
                "%{x:.4f} G MACs, %{customdata[2]:.1f} ms, %{y:+.3f} dB<extra></extra>",
                "cliponaxis": False,
            }
        )  # fmt: skip
    data += [
        {
            "type": "scatter", "mode": "markers", "name": "chosen",
            "x": [_giga(t)], "y": [gain(t)], "hoverinfo": "skip",
            "marker": {"color": palette.good, "size": 18, "symbol": "circle-open",
                       "line": {"width": 2.5}},
        }
        for t in trained if t["chosen"]
    ]  # fmt: skip
    budget = found["budget"]
    shapes = [line(palette.warn, y=-budget["psnr_drop"])]
    if "macs" in budget:
        shapes.append(line(palette.warn, x=budget["macs"] / 1e9))
    return {
        "data": data,
        "layout": layout(
            palette,
            400,
            shapes=shapes,
            showlegend=True,
            xaxis=axis(palette, "G MACs (less is better)"),
            yaxis=gain_axis(palette),
        ),
    }


def _giga(trial: Section) -> float:
    return float(trial["macs"]) / 1e9
