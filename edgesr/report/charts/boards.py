"""How long the models take on the boards, measured there."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edgesr.report.board_results import BoardResult
from edgesr.report.board_view import board_names
from edgesr.report.chart import Bar, Figure, time_bars
from edgesr.report.charts._base import Chart, Shown, register
from edgesr.report.palette import Palette


@register
class BoardLatency(Chart):
    """Latency with transfers of each model on each board; a whisker to the 99th percentile."""

    name, place = "boards", "boards"
    title = "Latency on each board; the figures are in the tables below"

    def count(self, shown: Shown) -> int:
        return int(bool(_timed(shown.boards)))

    def draw(self, shown: Shown, palette: Palette, index: int = 0) -> Figure:
        return time_bars(palette, _timed(shown.boards))


def _timed(boards: Sequence[BoardResult]) -> list[Bar]:
    """Every model that a board has verified and timed; names are escaped here."""
    return [
        Bar(
            f"{escape(name)}<br>{escape(entry['name'])}",
            entry["precision"],
            entry["latency_ms"]["with_transfers"]["median"],
            entry["latency_ms"]["with_transfers"]["p99"],
        )
        for board, name in zip(boards, board_names(boards), strict=True)
        for entry in board.content["models"]
        if entry["status"] == "verified" and "latency_ms" in entry
    ]
