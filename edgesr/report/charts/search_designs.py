"""What every trained design of a search loses, against what it computes."""

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
from edgesr.report.model import BudgetEntry, TrialEntry
from edgesr.report.palette import Palette


@register
class SearchDesigns(Chart):
    """Change of MPSNR on budget blocks against MACs, with the front and the limits."""

    name, place = "search_designs", "designs"
    title = (
        "Change of quality against MACs of all trained designs; the figures are in the table below"
    )

    def count(self, shown: Shown) -> int:
        found = shown.report.search
        return int(found is not None and bool(_points(found.trials)))

    def draw(self, shown: Shown, palette: Palette, index: int = 0) -> Figure:
        found = shown.report.search
        assert found is not None  # by count
        trained = [trial for trial in found.trials if trial.validation]
        chosen = [trial for trial in trained if trial.chosen]
        data = [
            front_trace(_points(trained), palette),
            _designs("design", [t for t in trained if t.number], ("student", "circle"), palette),
            _designs(
                "upsampler alone",
                [t for t in trained if not t.number],
                ("alone", "diamond"),
                palette,
            ),
            *(
                trace(
                    _points([trial]),
                    mode="markers",
                    name="chosen",
                    hoverinfo="skip",
                    marker=ring(palette),
                )
                for trial in chosen
            ),
        ]
        return {
            "data": data,
            "layout": layout(
                palette,
                400,
                shapes=_limits(found.budget, palette),
                showlegend=True,
                xaxis=axis(palette, "G MACs (less is better)"),
                yaxis=gain_axis(palette),
            ),
        }


def _points(trials: Sequence[TrialEntry]) -> list[Point]:
    """G MACs and gain of those that were trained."""
    return [(one.macs / 1e9, gain(one.validation)) for one in trials if one.validation]


def _designs(
    name: str, trials: Sequence[TrialEntry], look: tuple[str, str], palette: Palette
) -> dict[str, Any]:
    """Trials under one name, in one colour and with one symbol."""
    colour, symbol = look
    return trace(
        _points(trials),
        error_y=interval_bars([trial.validation for trial in trials if trial.validation], palette),
        mode="markers",
        name=name,
        marker={
            "color": palette.of(colour), "size": 10, "symbol": symbol,
            "line": {"color": palette.background, "width": 1},
        },
        customdata=[[trial.number, trial.label, trial.latency_ms] for trial in trials],
        hovertemplate="<b>trial %{customdata[0]}</b>: %{customdata[1]}<br>"
        "%{x:.4f} G MACs, %{customdata[2]:.1f} ms, %{y:+.3f} dB<extra></extra>",
        cliponaxis=False,
    )  # fmt: skip


def _limits(budget: BudgetEntry, palette: Palette) -> list[dict[str, Any]]:
    lines = [line(palette.warn, y=-budget.psnr_drop)]
    if budget.macs is not None:
        lines.append(line(palette.warn, x=budget.macs / 1e9))
    return lines
