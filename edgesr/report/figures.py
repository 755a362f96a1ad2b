"""The charts of the report page, as Plotly's JSON, one for each theme.

What belongs to the LKCA-Net paper's figures: parameter share (Fig. 1) and cumulative singular
values (Fig. 4). Pictures and spectra are drawn in the page itself, from what the reader chooses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from edgesr.report.chart import axis, chart, family, layout, room_for_numbers, time_bars
from edgesr.report.console import quantity, surgery_name
from edgesr.report.palette import Palette
from edgesr.report.wording import network_rows

Section = Mapping[str, Any]
CROWDED = "crowded"  # labels that the page leaves out where it is narrow


@chart
def parameter_share(report: Section, palette: Palette) -> dict[str, Any]:
    """A bar a network, as long as it has parameters, divided into backbone and upsampler."""
    rows = network_rows(report)
    names = [row.name for row in rows]
    upsampler = [row.network["upsampler_params"] for row in rows]
    total = [row.network["params"] for row in rows]
    parts = (
        ("backbone", [t - u for t, u in zip(total, upsampler, strict=True)], palette.backbone),
        ("upsampler", upsampler, palette.upsampler),
    )
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": names,
            "x": values,
            "marker": {"color": colour},
            "text": [_inside(v, t, max(total)) for v, t in zip(values, total, strict=True)],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
            "textfont": {"color": palette.background if name == "upsampler" else palette.ink},
            "hovertemplate": "%{y}, " + name + ": %{x:,d} parameters<extra></extra>",
        }
        for name, values, colour in parts
    ]
    ends = [
        {
            "x": t, "y": name, "text": f"<b>{quantity(t)}</b>{_outside(u, t, max(total))}",
            "showarrow": False, "xanchor": "left", "xshift": 8, "font": {"color": palette.ink},
        }
        for name, t, u in zip(names, total, upsampler, strict=True)
    ]  # fmt: skip
    return {
        "data": bars,
        "layout": layout(
            palette,
            92 + 46 * len(rows),
            barmode="stack",
            margin=room_for_numbers(40),
            bargap=0.38,
            showlegend=True,
            annotations=ends,
            xaxis=axis(
                palette,
                "parameters",
                range=[0, max(total)],
                tickformat="~s",
                nticks=6,
                showgrid=False,
            ),
            yaxis=axis(palette, autorange="reversed", showgrid=False, tickfont_color=palette.ink),
        ),
    }


def _inside(value: int, total: int, largest: int) -> str:
    return f"{value / total:.0%}" if value > 0.06 * largest else ""


def _outside(value: int, total: int, largest: int) -> str:
    """The upsampler's share, where its part of the bar is too narrow for it."""
    return "" if _inside(value, total, largest) else f"  upsampler {value / total:.1%}"


@chart
def cumulative_spectrum(report: Section, palette: Palette, index: int) -> dict[str, Any]:
    """Share of the spectrum that the first r values hold: of their sum, and of their squares."""
    entry, chosen = report["spectrum"][index], report["chosen"]
    values, target = entry["singular_values"], entry["target"]
    curves = (
        ("squared energy", [v * v for v in values], palette.accent, entry["rank"]["energy"]),
        ("sum, as in the paper", values, palette.upsampler, entry["rank"]["sum"]),
    )
    data: list[dict[str, Any]] = []
    for name, weights, colour, rank in curves:
        whole = sum(weights) or 1.0
        share = [part / whole for part in accumulate(weights, initial=0.0)]
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "y": share,
                "line": {"color": colour, "width": 2.5},
                "hovertemplate": f"{name}<br>first %{{x}} values: %{{y:.1%}}<extra></extra>",
            }
        )  # fmt: skip
        data.append(
            {
                "type": "scatter", "mode": "markers+text", "x": [rank],
                "y": [share[min(rank, len(share) - 1)]], "text": [f"rank {rank}"],
                "textposition": "bottom right", "textfont": {"color": colour, "size": 13},
                "marker": {"color": colour, "size": 9}, "showlegend": False,
                "hovertemplate": f"{target:.0%} of the {name}: rank {rank}<extra></extra>",
                "cliponaxis": False,
            }
        )  # fmt: skip
    lines = [line(palette.muted, y=target)]
    notes = [
        {
            "xref": "paper", "x": 1, "y": target, "text": f"target {target:.0%}", "yshift": 9,
            "showarrow": False, "xanchor": "right", "font": {"color": palette.muted, "size": 12},
        }
    ]  # fmt: skip
    if chosen["pass"] == "lowrank":
        rank = chosen.get("settings", {}).get(entry["site"], chosen["rank"])
        lines.append(line(palette.good, x=rank))
        notes.append(
            {
                "x": rank, "y": 0.06, "text": f"chosen: rank {rank}", "showarrow": False,
                "xanchor": "left" if rank < 0.7 * len(values) else "right", "xshift": 7,
                "font": {"color": palette.good, "size": 13},
            }
        )  # fmt: skip
    return {
        "data": data,
        "layout": layout(
            palette,
            380,
            shapes=lines,
            annotations=notes,
            showlegend=True,
            xaxis=axis(palette, "singular values kept", range=[0, len(values) * 1.02]),
            yaxis=axis(palette, "share of the spectrum", range=[0, 1.03], tickformat=".0%"),
        ),
    }


def line(colour: str, x: float | None = None, y: float | None = None) -> dict[str, Any]:
    """A dotted line across the chart, at an x or a y."""
    place: dict[str, Any] = (
        {"xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y}
        if x is None
        else {"yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1}
    )
    return {"type": "line", "line": {"color": colour, "width": 1.2, "dash": "dot"}, **place}


@chart
def pareto(report: Section, palette: Palette) -> dict[str, Any]:
    """Change of MPSNR on validation against latency, for all candidates, with their front."""
    timed = [c for c in report["candidates"] if c["latency_ms"] is not None]
    front = pareto_front(timed)
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "name": "Pareto front",
            "x": [c["latency_ms"] for c in front], "y": [gain(c) for c in front],
            "line": {"color": palette.muted, "width": 1.5, "shape": "hv"}, "hoverinfo": "skip",
        }
    ]  # fmt: skip
    for kind, name, symbol in (("lowrank", "low-rank", "circle"), ("grouped", "grouped", "square")):
        members = [c for c in timed if c["pass"] == kind]
        data.append(
            {
                "type": "scatter", "mode": "markers+text", "name": name, "meta": CROWDED,
                "x": [c["latency_ms"] for c in members], "y": [gain(c) for c in members],
                "text": [_mark(c, members) for c in members], "textposition": "bottom right",
                "textfont": {"color": palette.muted, "size": 12},
                "marker": {"color": palette.of(kind), "size": 10, "symbol": symbol,
                           "line": {"color": palette.background, "width": 1}},
                "customdata": [[surgery_name(c), quantity(c["params"]), c["reason"]]
                               for c in members],
                "hovertemplate": "<b>%{customdata[0]}</b><br>%{x:.1f} ms, %{y:+.3f} dB,"
                " %{customdata[1]} parameters<br>%{customdata[2]}<extra></extra>",
                "cliponaxis": False,
            }
        )  # fmt: skip
    for chosen in (c for c in timed if c["chosen"]):
        data.append(
            {
                "type": "scatter", "mode": "markers+text", "name": "chosen",
                "x": [chosen["latency_ms"]], "y": [gain(chosen)],
                "text": [f"<b>{surgery_name(chosen)}</b>"], "textposition": "bottom right",
                "textfont": {"color": palette.good, "size": 13}, "hoverinfo": "skip",
                "marker": {"color": palette.good, "size": 18, "symbol": "circle-open",
                           "line": {"width": 2.5}},
            }
        )  # fmt: skip
    shapes, notes = [], []
    if "max_psnr_drop" in report["recipe"]:
        limit = -report["recipe"]["max_psnr_drop"]
        shapes.append(line(palette.warn, y=limit))
        notes.append(
            {
                "xref": "paper", "x": 1, "y": limit, "text": f"budget −{-limit:.3g} dB",
                "showarrow": False, "xanchor": "right", "yanchor": "top",
                "font": {"color": palette.warn, "size": 12},
            }
        )  # fmt: skip
    return {
        "data": data,
        "layout": layout(
            palette,
            430,
            shapes=shapes,
            annotations=notes,
            showlegend=True,
            xaxis=axis(palette, "latency, ms (less is better)"),
            yaxis=gain_axis(palette),
        ),
    }


def gain_axis(palette: Palette) -> dict[str, Any]:
    """The axis on which :func:`gain` is drawn."""
    return axis(
        palette,
        "change of MPSNR on validation, dB",
        tickformat="+.2f",
        zeroline=True,
        zerolinecolor=palette.muted,
    )


def gain(candidate: Section) -> float:
    """Change of MPSNR on validation, dB."""
    return float(-candidate["validation"]["mpsnr_drop"]) + 0.0


def _mark(candidate: Section, members: Sequence[Section]) -> str:
    """Every group is named, of the many ranks only the largest; the others tell when asked."""
    if candidate["chosen"]:
        return ""
    if candidate["pass"] == "grouped":
        return f" g={candidate['groups']}"
    return f" R={candidate['rank']}" if candidate is members[0] else ""


def pareto_front(candidates: Sequence[Section], cost: str = "latency_ms") -> list[Section]:
    """Candidates that no other one beats in both cost and quality, the cheapest first."""
    front: list[Section] = []
    for candidate in sorted(candidates, key=lambda c: (c[cost], -gain(c))):
        if not front or gain(candidate) > gain(front[-1]):
            front.append(candidate)
    return front


@chart
def latency(report: Section, palette: Palette) -> dict[str, Any]:
    """A bar for everything that was timed, to its median; a whisker to the 95th percentile."""
    names, kinds, timed = zip(*_timed(report), strict=True)
    return time_bars(
        palette,
        names,
        kinds,
        [one["median"] for one in timed],
        [one["p95"] for one in timed],
        "ms",
    )


def _timed(report: Section) -> Iterator[tuple[str, str, Section]]:
    """Name, colour's name and times of everything timed; models of the deployment if there are."""
    if naive := report["teacher"].get("naive_latency_ms"):
        yield "teacher, plain export", "bicubic", naive
    models = [m for m in report.get("deployment", {}).get("models", ()) if m["latency_ms"]]
    for row in network_rows(report):
        if not (models and row.kind == "student"):
            yield row.name, row.kind, row.network["latency_ms"]
    for model in models:
        name = f"student {model['precision']}<br>{model['runtime']}"
        yield name, family(model["precision"]), model["latency_ms"]


@chart
def training(report: Section, palette: Palette) -> dict[str, Any] | None:
    """MPSNR on validation after each epoch of distillation; None where no epoch was run."""
    data: list[dict[str, Any]] = []
    for row in network_rows(report):
        found = report["distillation"] if row.kind == "student" else row.network.get("distillation")
        steps = [s for s in (found or {}).get("history", ()) if "val_mpsnr" in s and "epoch" in s]
        if row.kind == "teacher" or not steps:
            continue
        data.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": row.name,
                "x": [s["epoch"] for s in steps], "y": [s["val_mpsnr"] for s in steps],
                "line": {"color": palette.of(row.kind), "width": 2}, "marker": {"size": 6},
                "hovertemplate": "epoch %{x}: %{y:.3f} dB<extra>" + row.name + "</extra>",
            }
        )  # fmt: skip
    if not data:
        return None
    return {
        "data": data,
        "layout": layout(
            palette,
            300,
            showlegend=True,
            xaxis=axis(palette, "epoch of distillation", tickformat="d"),
            yaxis=axis(palette, "MPSNR on validation, dB", tickformat=".2f"),
        ),
    }
