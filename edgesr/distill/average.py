"""Exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edgesr.distill.state import restore, tensors_of


class WeightAverage:
    """Shadow of a network's state that follows it as ``decay * shadow + (1 - decay) * weights``.

    The decay starts small, at (1 + n) / (10 + n) after n updates, so that the start is forgotten
    soon. Entries that are not floating point (counters) are copied; torch's ``AveragedModel``
    either leaves the statistics of normalisation out of the average or averages counters, too.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.shadow = {name: value.clone() for name, value in tensors_of(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the present weights into the average."""
        self.updates += 1
        share = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in tensors_of(model).items():
            if value.is_floating_point() or value.is_complex():
                self.shadow[name].lerp_(value, share)
            else:
                self.shadow[name].copy_(value)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model has the averaged weights inside the block, and its own again after it."""
        own = {name: value.clone() for name, value in tensors_of(model).items()}
        restore(model, self.shadow)
        try:
            yield
        finally:
            restore(model, own)

    def state_dict(self) -> dict[str, int | dict[str, Tensor]]:
        """What :meth:`load_state_dict` needs to continue."""
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: dict) -> None:
        """Continue from a saved average."""
        self.updates = state["updates"]
        for name, value in state["shadow"].items():
            self.shadow[name].copy_(value)
