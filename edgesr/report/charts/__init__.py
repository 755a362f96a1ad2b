"""The charts of the page, one file each; every file registers its own.

A chart of another distribution comes in through the entry point ``edgesr.charts``.
"""

from edgesr.report.charts._base import CHARTS, Chart, Drawn, Shown, draw_charts, register

__all__ = ["CHARTS", "Chart", "Drawn", "Shown", "draw_charts", "register"]
