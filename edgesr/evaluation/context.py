"""How far a network looks: the LR pixels around a place that its result there depends on.

One LR pixel in a corner is changed, and the output is searched for the farthest pixel that answers
by more than rounding. A network that looks everywhere, by pooling or attention, answers in every
output pixel, however faintly; so does one that looks farther than the largest tile that is tried,
and no margin around a tile would be enough for either.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from edgesr_export.card import GLOBAL
from torch import Tensor, nn

SIDES = (32, 96)
"""LR sides of the tiles that are tried, until the answer stays inside."""

_QUIET = 1e-6  # of the largest value: what rounding does in float32


@torch.no_grad()
def measure_context(model: nn.Module, tile: Callable[[int], Tensor], scale: int) -> int | str:
    """Measure the context of a network.

    Args:
        model: network from [1, B, h, w] to [1, B, h r, w r], in evaluation mode.
        tile: a real LR tile [1, B, s, s] in [0, 1] of a given side s.
        scale: r.

    Returns:
        LR pixels in each direction, at most ``SIDES[-1] - 2``, or "global".
    """
    if getattr(model, "fixed_size", None) is not None:
        return GLOBAL
    for side in SIDES:
        try:
            reach, everywhere = _reach(model, tile(side), scale)
        except (RuntimeError, ValueError):  # a third-party network that refuses the size
            return GLOBAL
        if reach < side - 1 and not everywhere:
            return reach
    return GLOBAL


def _reach(model: nn.Module, tile: Tensor, scale: int) -> tuple[int, bool]:
    """Farthest answer in LR pixels, and whether every output pixel answers."""
    last = tile.shape[-1] - 1
    before = model(tile)
    quiet = _QUIET * max(1.0, float(before.abs().max()))
    reach, everywhere = 0, False
    for row, col in product((0, last), (0, last)):
        changed = tile.clone()
        changed[..., row, col] = 1 - changed[..., row, col].round()
        answer = (model(changed) - before).abs().amax(dim=1)[0]
        everywhere |= bool((answer > 0).float().mean() > 0.99)
        places = (answer > quiet).nonzero() // scale
        if len(places):
            corner = torch.tensor([row, col], device=places.device)
            reach = max(reach, int((places - corner).abs().max()))
    return reach, everywhere
