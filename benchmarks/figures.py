"""The figure of growth: latency above, memory below, one column for each thing that grows."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fit import growth
from benchmarks.results import Record, Results
from edgesr.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, LATENCY, MEMORY = "#22303c", "#8a99a8", "#d1495b", "#2e6f95"


def draw_scaling(results: Results, path: Path) -> Path | None:
    """Write a PNG of the axes of growth in ``results``; None, and nothing, without any."""
    records = results.records("growth with ")
    axes = {name: list(points) for name, points in groupby(records, key=lambda r: r.facts["axis"])}
    if not axes:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.1 * len(axes), 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(axes), squeeze=False)
    for column, (name, points) in enumerate(axes.items()):
        times = [record.median_ms for record in points]
        sizes = [record.facts["peak_bytes"] / 2**20 for record in points]
        _panel(panels[0, column], points, times, LATENCY)
        _panel(panels[1, column], points, sizes, MEMORY)
        panels[0, column].set_title(name, color=INK, fontsize=11)
        panels[1, column].set_xlabel(points[0].facts["unit"], color=INK, fontsize=10)
    panels[0, 0].set_ylabel("latency, ms", color=INK)
    panels[1, 0].set_ylabel("peak memory, MB", color=INK)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})
    return path


def _panel(axes: Axes, points: list[Record], values: list[float], colour: str) -> None:
    """Points, and in proportion to the last of them a dashed line."""
    x = [record.facts["x"] for record in points]
    axes.loglog(x, values, "o-", color=colour, markersize=5, linewidth=1.8)
    linear = [values[-1] * one / x[-1] for one in x]
    axes.loglog(x, linear, "--", color=MUTED, linewidth=1)
    fit = growth(x, values)
    axes.text(
        0.97,
        0.04,
        f"exponent {fit.exponent:.2f}, at the end {fit.last:.2f}",
        transform=axes.transAxes,
        color=colour,
        fontsize=9,
        ha="right",
    )
    axes.set_xticks(x, [str(one) for one in x], fontsize=7, rotation=45)
    axes.set_yticks(
        ends := [min(values), max(values)],
        [f"{one:.3g}" if one < 100 else f"{one:.0f}" for one in ends],
    )
    axes.minorticks_off()
    axes.tick_params(colors=INK, labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
