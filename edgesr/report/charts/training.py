"""How the distillation of each network went."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgesr.history import MPSNR, todays_names
from edgesr.report.chart import Figure, axis, layout
from edgesr.report.charts._base import Chart, Shown, register
from edgesr.report.model import Report
from edgesr.report.palette import Palette
from edgesr.report.wording import Row, network_rows


@register
class Training(Chart):
    """MPSNR on tuning blocks after each epoch of distillation."""

    name, place = "training", "training"
    title = "MPSNR on tuning blocks after each epoch"

    def count(self, shown: Shown) -> int:
        return int(any(True for _ in _trained(shown.report)))

    def draw(self, shown: Shown, palette: Palette, index: int = 0) -> Figure:
        data = [
            {
                "type": "scatter", "mode": "lines+markers", "name": row.name,
                "x": [s["epoch"] for s in steps], "y": [s[MPSNR] for s in steps],
                "line": {"color": palette.of(row.kind), "width": 2}, "marker": {"size": 6},
                "hovertemplate": "epoch %{x}: %{y:.3f} dB<extra>" + row.name + "</extra>",
            }
            for row, steps in _trained(shown.report)
        ]  # fmt: skip
        return {
            "data": data,
            "layout": layout(
                palette,
                300,
                showlegend=True,
                xaxis=axis(palette, "epoch of distillation", tickformat="d"),
                yaxis=axis(palette, "MPSNR on tuning blocks, dB", tickformat=".2f"),
            ),
        }


def _trained(report: Report) -> Iterator[tuple[Row, list[dict[str, Any]]]]:
    """Networks that were trained, with the epochs that were measured."""
    for row in network_rows(report):
        found = report.distillation if row.kind == "student" else row.network.distillation
        history = map(todays_names, (found.history if found else None) or [])
        steps = [step for step in history if MPSNR in step and "epoch" in step]
        if row.kind != "teacher" and steps:
            yield row, steps
