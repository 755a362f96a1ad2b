"""Where the time goes now: milliseconds per operator and per layer, from ``profile``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from edgesr.report.chart import axis, chart, family, layout, room_for_numbers
from edgesr.report.palette import Palette
from edgesr.report.wording import milliseconds

Section = Mapping[str, Any]
MOST = 9
OTHERS = "all others"


def by_operator(network: Section) -> Counter[str]:
    """Milliseconds of each type of operator in one profiled network."""
    spent: Counter[str] = Counter()
    for layer in network["layers"]:
        spent[layer["op"]] += layer["ms"]
    return spent


@chart
def operators(report: Section, palette: Palette) -> dict[str, Any] | None:
    """Time of each type of operator, the networks side by side; the slowest types first."""
    networks = report.get("profile", {}).get("networks", ())
    spent = [by_operator(network) for network in networks]
    if not any(spent):
        return None
    most: Counter[str] = Counter()
    for one in spent:
        most |= one
    kinds = [kind for kind, _ in most.most_common(MOST)]
    rest = [sum(ms for kind, ms in one.items() if kind not in kinds) for one in spent]
    labels = kinds + ([OTHERS] if any(rest) else [])
    data = []
    for network, one, other in zip(networks, spent, rest, strict=True):
        values = [one[kind] for kind in kinds] + ([other] if any(rest) else [])
        data.append(
            {
                "type": "bar", "orientation": "h", "name": network["name"], "y": labels,
                "x": values, "text": [milliseconds(v) if v else "" for v in values],
                "textposition": "outside", "textfont": {"color": palette.muted, "size": 12},
                "marker": {"color": palette.of(family(network["name"]))}, "cliponaxis": False,
                "hovertemplate": "%{y}: %{x:.3f} ms<extra>" + network["name"] + "</extra>",
            }
        )  # fmt: skip
    return {
        "data": data,
        "layout": layout(
            palette,
            86 + len(labels) * (14 + 16 * len(networks)),
            showlegend=True,
            bargap=0.3,
            margin=room_for_numbers(40),
            uniformtext={},
            xaxis=axis(palette, "ms in one call", rangemode="tozero"),
            yaxis=axis(palette, autorange="reversed", showgrid=False, tickfont_color=palette.ink),
        ),
    }


@chart
def layers(report: Section, palette: Palette, index: int) -> dict[str, Any]:
    """Time of each layer of one profiled network in the order of execution, by precision."""
    found = report["profile"]["networks"][index]["layers"]
    data = []
    for precision in dict.fromkeys(layer.get("precision", "fp32") for layer in found):
        members = [
            (number, layer)
            for number, layer in enumerate(found, 1)
            if layer.get("precision", "fp32") == precision
        ]
        data.append(
            {
                "type": "bar", "name": precision, "x": [number for number, _ in members],
                "y": [layer["ms"] for _, layer in members],
                "customdata": [[layer["layer"], layer["op"]] for _, layer in members],
                "marker": {"color": palette.of(family(precision))},
                "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}, " + precision
                + "<br>%{y:.3f} ms<extra></extra>",
            }
        )  # fmt: skip
    return {
        "data": data,
        "layout": layout(
            palette,
            280,
            showlegend=True,
            bargap=0.25,
            barmode="overlay",
            xaxis=axis(palette, "layer, in the order of execution", showgrid=False, tickformat="d"),
            yaxis=axis(palette, "ms", rangemode="tozero"),
        ),
    }
