"""What each candidate loses, against how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgesr.report.chart import Figure, axis, layout, line
from edgesr.report.charts._base import Chart, Shown, register
from edgesr.report.charts._gain import (
    Point,
    front_trace,
    gain,
    gain_axis,
    interval_bars,
    ring,
    trace,
)
from edgesr.report.model import CandidateEntry, Report
from edgesr.report.palette import Palette
from edgesr.report.wording import quantity, surgery_name
from edgesr.surgery.passes import PASSES, Pass

CROWDED = "crowded"  # labels that the page leaves out where it is narrow


@register
class Pareto(Chart):
    """Change of MPSNR on budget blocks against latency, for all candidates, with their front."""

    name, place = "pareto", "candidates"
    title = (
        "Change of quality against latency of all candidates; the figures are in the table below"
    )

    def count(self, shown: Shown) -> int:
        return int(any(one.latency_ms is not None for one in shown.report.candidates))

    def draw(self, shown: Shown, palette: Palette, index: int = 0) -> Figure:
        candidates = shown.report.candidates
        data = [front_trace(_points(candidates), palette)]
        for method in dict.fromkeys(one.method for one in candidates):
            data.append(_of_pass(method, candidates, palette))
        data += [_chosen(one, palette) for one in candidates if one.chosen and _points([one])]
        return {
            "data": data,
            "layout": layout(
                palette,
                430,
                **_budget(shown.report, palette),
                showlegend=True,
                xaxis=axis(palette, "latency, ms (less is better)"),
                yaxis=gain_axis(palette),
            ),
        }


def _points(candidates: Sequence[CandidateEntry]) -> list[Point]:
    """Latency and gain of those that were timed."""
    return [
        (one.latency_ms, gain(one.validation)) for one in candidates if one.latency_ms is not None
    ]


def _of_pass(method: str, candidates: Sequence[CandidateEntry], palette: Palette) -> dict[str, Any]:
    """The timed candidates of one pass; one that is not registered here is drawn in neutral."""
    known = PASSES.get(method)
    look = known or Pass
    members = [one for one in candidates if one.method == method and one.latency_ms is not None]
    return trace(
        _points(members),
        error_y=interval_bars([one.validation for one in members], palette),
        mode="markers+text",
        name=known.title if known else method,
        meta=CROWDED,
        text=[_mark(one, members, known) for one in members],
        textposition="bottom right",
        textfont={"color": palette.muted, "size": 12},
        marker={
            "color": palette.pick(look.colours), "size": 10, "symbol": look.marker,
            "line": {"color": palette.background, "width": 1},
        },
        customdata=[[surgery_name(one), quantity(one.params), one.reason] for one in members],
        hovertemplate="<b>%{customdata[0]}</b><br>%{x:.1f} ms, %{y:+.3f} dB,"
        " %{customdata[1]} parameters<br>%{customdata[2]}<extra></extra>",
        cliponaxis=False,
    )  # fmt: skip


def _mark(candidate: CandidateEntry, members: Sequence[CandidateEntry], known: Pass | None) -> str:
    """Every group is named, of the many ranks only the largest; the others tell when asked."""
    if candidate.chosen or (candidate.rank and candidate is not members[0]):
        return ""
    return f" {known.letter}={candidate.value}" if known else f" {candidate.value}"


def _chosen(candidate: CandidateEntry, palette: Palette) -> dict[str, Any]:
    return trace(
        _points([candidate]),
        mode="markers+text",
        name="chosen",
        text=[f"<b>{surgery_name(candidate)}</b>"],
        textposition="bottom right",
        textfont={"color": palette.good, "size": 13},
        hoverinfo="skip",
        marker=ring(palette),
    )


def _budget(report: Report, palette: Palette) -> dict[str, Any]:
    """The line that candidates must not fall below, where the recipe has one."""
    drop = report.recipe.get("max_psnr_drop")
    if drop is None:
        return {"shapes": [], "annotations": []}
    note = {
        "xref": "paper", "x": 1, "y": -drop, "text": f"budget −{drop:.3g} dB",
        "showarrow": False, "xanchor": "right", "yanchor": "top",
        "font": {"color": palette.warn, "size": 12},
    }  # fmt: skip
    return {"shapes": [line(palette.warn, y=-drop)], "annotations": [note]}
