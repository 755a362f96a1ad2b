"""The charts of the page, one file each; every file registers its own.

A new chart is a new file here, called as the chart's ``name``, with a decorated class::

    @register
    class Blocks(Chart):
        name, title, place = "blocks", "Effect of each block", "structure"
        heading = "What each block does"

        def count(self, shown: Shown) -> int:
            return int(shown.report.search is not None)

        def draw(self, shown: Shown, palette: Palette, index: int = 0) -> Figure:
            return {"data": [...], "layout": layout(palette, 300)}

The page needs no change: it shows what is placed in one of its sections at that section's end. A
chart of another distribution comes in through the entry point ``edgesr.charts``.
"""

from edgesr.report.charts._base import CHARTS, Chart, Drawn, Shown, draw_charts, register

__all__ = ["CHARTS", "Chart", "Drawn", "Shown", "draw_charts", "register"]
