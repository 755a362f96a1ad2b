"""How far a network looks: the LR pixels around a place that its result there depends on.

All but a corner of a real tile is painted over. The context is the side of the smallest corner that
leaves the output of its outermost pixel as it was, up to rounding. A network that looks everywhere,
by pooling or attention, answers to whatever is painted, if faintly. So a context of more than half
the largest tile is taken for global, too: no margin around a tile would be worth its pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from edgesr_export.card import GLOBAL
from torch import Tensor, nn

SIDES = (32, 96)
"""LR sides of the tiles that are tried; what is found on the first has to hold on the last."""

LARGEST = SIDES[-1] // 2 - 1
"""LR pixels; networks that look farther are taken for global."""

_QUIET = 1e-6  # of the largest value: what rounding does in float32


@torch.no_grad()
def measure_context(model: nn.Module, tile: Callable[[int], Tensor], scale: int) -> int | str:
    """Measure the context of a network.

    Args:
        model: network from [1, B, h, w] to [1, B, h r, w r], in evaluation mode.
        tile: a real LR tile [1, B, s, s] in [0, 1] of a given side s.
        scale: r.

    Returns:
        LR pixels in each direction, at most :data:`LARGEST`, or "global".
    """
    if getattr(model, "fixed_size", None) is not None:
        return GLOBAL
    found = 0
    for side in SIDES:
        try:
            trial = _Trial(model, tile(side), scale)
            reach = trial.reach(found)
        except (RuntimeError, ValueError):  # a third-party network that refuses the size
            return GLOBAL
        if reach is not None:
            found = max(found, reach)
        elif side == SIDES[-1]:
            return GLOBAL
    return found if found <= LARGEST else GLOBAL


@dataclass
class _Trial:
    """A network on one tile."""

    model: nn.Module
    tile: Tensor
    scale: int

    def __post_init__(self) -> None:
        self.before = self.model(self.tile)
        self.quiet = _QUIET * max(1.0, float(self.before.abs().max()))
        self.paint = 0.0 if float(self.tile.mean()) > 0.5 else 1.0

    def reach(self, least: int) -> int | None:
        """The context, at least ``least``; None where it is as large as the tile."""
        low, high = least, self.tile.shape[-1] - 2
        if not self.holds(high):
            return None
        while low < high:
            middle = (low + high) // 2
            if self.holds(middle):
                high = middle
            else:
                low = middle + 1
        return low

    def holds(self, context: int) -> bool:
        """Whether two opposite corners stay the same when all farther pixels are painted over."""
        kept, near = context + 1, self.scale
        for corner, own in (
            ((slice(None, kept),) * 2, (slice(None, near),) * 2),
            ((slice(-kept, None),) * 2, (slice(-near, None),) * 2),
        ):
            changed = torch.full_like(self.tile, self.paint)
            changed[..., corner[0], corner[1]] = self.tile[..., corner[0], corner[1]]
            answer = self.model(changed)[..., own[0], own[1]] - self.before[..., own[0], own[1]]
            if float(answer.abs().max()) > self.quiet:
                return False
        return True
