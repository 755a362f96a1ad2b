"""Low rank: a layer of R outputs, and a 1 x 1 one behind it."""

from __future__ import annotations

from edgesr.surgery.passes._base import Pass, register


@register
class LowRank(Pass):
    """The layer through R directions of its output."""

    name, title, letter, setting = "lowrank", "low-rank", "R", "rank"
    colours, marker = ("#1c6ea4", "#6cb4e4"), "circle"
