"""What several networks share: the bicubic skip, stochastic depth, and checks of their options."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgesr.errors import ModelError


def bicubic_skip(lr: Tensor, scale: int) -> Tensor:
    """Enlarge ``lr`` [N, B, h, w] to [N, B, h*scale, w*scale] by bicubic interpolation.

    Kernel a = -0.75, half-pixel centres, no antialiasing.
    """
    return F.interpolate(lr, scale_factor=scale, mode="bicubic", align_corners=False)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of [N, C, h, w] at every pixel.

    The fused operator on the channels-last view costs nothing but strides in ``channels_last``,
    and reaches ONNX as one LayerNormalization, which runs twice as fast as its elementary form.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        pixels = F.layer_norm(
            x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps
        )
        return pixels.permute(0, 3, 1, 2)


class DropPath(nn.Module):
    """Stochastic depth: in training, zero the whole residual of a sample with probability ``rate``.

    What survives is divided by ``1 - rate``, so that the expectation stays (Huang et al., 2016).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        mask = x.new_empty(x.shape[0], *(1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * (mask / keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


def check_whole(network: str, option: str, value: Any, least: int) -> None:
    """Refuse an option that is not a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ModelError(
            f"{network} got {option}={value!r}; give a whole number of at least {least}"
        )


def check_pair(network: str, option: str, value: Any) -> None:
    """Refuse an option that is not a list or tuple of two whole numbers of at least 1."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ModelError(f"{network} got {option}={value!r}; give two whole numbers, such as 1, 3")
    for item in value:
        check_whole(network, option, item, 1)


def check_choice(network: str, option: str, value: Any, valid: list[Any]) -> None:
    """Refuse an option whose value, of the same type, is none of ``valid``."""
    if not any(type(value) is type(choice) and value == choice for choice in valid):
        listed = ", ".join(str(choice) for choice in valid)
        raise ModelError(f"{network} got {option}={value!r}; choose one of {listed}")
