"""The order in memory in which a network trains quickest."""

from __future__ import annotations

import torch
from torch import nn

from edgesr.models import is_own


def quick_order(model: nn.Module) -> torch.memory_format:
    """Channels last, where that is sure to work.

    A third-party network may call ``view`` on what a convolution gives it, and weights of five axes
    have an order of their own.
    """
    flat = all(weight.ndim <= 4 for weight in model.parameters())
    return torch.channels_last if is_own(model) and flat else torch.contiguous_format
