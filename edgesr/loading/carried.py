"""Classes whose text the loader beside a student carries; they need torch alone."""

from __future__ import annotations

from torch import Tensor, nn


class SharedFactor(nn.Module):
    """A layer behind a 1 x 1 convolution that belongs to another one, which holds its weights."""

    def __init__(self, reduce: nn.Module, expand: nn.Module) -> None:
        super().__init__()
        self.reduce_of_other = (reduce,)  # in a tuple, it is not registered twice
        self.expand = expand

    def forward(self, x: Tensor) -> Tensor:
        return self.expand(self.reduce_of_other[0](x))
