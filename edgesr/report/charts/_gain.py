"""What charts of quality against cost share: points (cost, change of MPSNR in dB), their front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgesr.report.chart import axis
from edgesr.report.model import Drop
from edgesr.report.palette import Palette

Point = tuple[float, float]


def gain(lost: Drop) -> float:
    """Change of MPSNR on budget blocks, dB."""
    return -lost.mpsnr_drop + 0.0


def interval_bars(lost: Sequence[Drop], palette: Palette) -> dict[str, Any]:
    """Error bars of :func:`gain`, from one end of the interval to the other."""
    ends = [one.mpsnr_interval or [one.mpsnr_drop] * 2 for one in lost]
    return {
        "type": "data", "symmetric": False, "color": palette.muted, "thickness": 1, "width": 3,
        "array": [one.mpsnr_drop - low for one, (low, _) in zip(lost, ends, strict=True)],
        "arrayminus": [high - one.mpsnr_drop for one, (_, high) in zip(lost, ends, strict=True)],
    }  # fmt: skip


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Points that no other one beats in both cost and quality, the cheapest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front


def trace(points: Sequence[Point], **more: Any) -> dict[str, Any]:
    """Points as Plotly has them."""
    return {
        "type": "scatter", "x": [cost for cost, _ in points], "y": [dB for _, dB in points], **more,
    }  # fmt: skip


def front_trace(points: Sequence[Point], palette: Palette) -> dict[str, Any]:
    """The line through what nothing beats."""
    line = {"color": palette.muted, "width": 1.5, "shape": "hv"}
    return trace(
        pareto_front(points), mode="lines", name="Pareto front", line=line, hoverinfo="skip"
    )


def ring(palette: Palette) -> dict[str, Any]:
    """The marker around what was chosen."""
    return {"color": palette.good, "size": 18, "symbol": "circle-open", "line": {"width": 2.5}}


def gain_axis(palette: Palette) -> dict[str, Any]:
    """The axis on which :func:`gain` is drawn."""
    return axis(
        palette,
        "change of MPSNR on budget blocks, dB",
        tickformat="+.2f",
        zeroline=True,
        zerolinecolor=palette.muted,
    )
