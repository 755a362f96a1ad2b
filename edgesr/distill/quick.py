"""Calls that torch is slow at on a CPU, done another way: the same values up to rounding.

A :class:`QuickCalls` block changes no network and no weight: calls of torch's functions inside it
go another way where that is known to be quicker, and as ever where it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

LARGEST = 256
"""Side in pixels above which a product with a whole matrix of interpolation costs too much."""

_EXACT = (torch.float32, torch.float64)
"""Precisions in which such a product is as exact as torch's own interpolation."""


class QuickCalls(TorchFunctionMode):
    """Inside the block, bicubic interpolation and dilated depthwise convolutions are quick."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        other = _OTHERS.get(func)
        result = None if other is None else other(*args, **kwargs)
        return func(*args, **kwargs) if result is None else result


def _interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor | None:
    """Bicubic interpolation by a whole factor, as a product with a matrix along each axis."""
    if mode != "bicubic" or align_corners or input.ndim != 4 or input.device.type != "cpu":
        return None
    sides = input.shape[2:]
    if isinstance(scale_factor, int) and size is None:
        size = tuple(side * scale_factor for side in sides)
    if input.dtype not in _EXACT or not isinstance(size, tuple) or max(*sides, *size) > LARGEST:
        return None
    if any(max(old, new) % min(old, new) for old, new in zip(sides, size, strict=True)):
        return None
    rows, columns = (
        _matrix(old, new, antialias).to(input.dtype) for old, new in zip(sides, size, strict=True)
    )
    with torch.autocast("cpu", enabled=False):
        if input.is_contiguous():
            return rows @ (input @ columns.T)
        images, bands = input.shape[:2]
        pixels = input.permute(0, 2, 3, 1).reshape(images, sides[0], -1)
        lines = (rows @ pixels).view(images * size[0], sides[1], bands)
        return (columns @ lines).view(images, *size, bands).permute(0, 3, 1, 2)


@lru_cache(maxsize=32)
def _matrix(old: int, new: int, antialias: bool) -> Tensor:
    """Weights [new, old] of bicubic interpolation along one axis, in float64."""
    unit = torch.eye(old, dtype=torch.float64)[None, None]
    with torch.inference_mode(False), torch.no_grad():
        return F.interpolate(
            unit, size=(new, old), mode="bicubic", align_corners=False, antialias=antialias
        )[0, 0]


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    """A depthwise convolution in the precision of its weights: backward, bfloat16 takes twice that.

    Where its taps lie d pixels apart, the d x d images of every d-th row and column become images
    of the batch; there, the taps are neighbours.
    """
    kernel = weight.shape[2:]
    step = dilation[0] if isinstance(dilation, tuple) else dilation
    same = tuple(step * (side // 2) for side in kernel)
    if (
        input.device.type != "cpu"
        or input.ndim != 4
        or not 1 < groups == input.shape[1] == len(weight)
        or any(side % 2 == 0 for side in kernel)
        or (stride, padding, dilation) != ((1, 1), same, (step, step))
    ):
        return None
    near = tuple(side // 2 for side in kernel)
    mixed = torch.is_autocast_enabled("cpu")
    with torch.autocast("cpu", enabled=False):
        batch = input.to(weight.dtype)
        if step > 1:
            batch = _phases(batch, step)
        found = F.conv2d(batch, weight, bias, 1, near, 1, groups)
        if step > 1:
            found = _joined(found, input, step)
        return found.to(torch.get_autocast_dtype("cpu")) if mixed else found


def _phases(image: Tensor, step: int) -> Tensor:
    """Images of every ``step``-th row and column: [N, C, H, W] to [N * step^2, C, h, w]."""
    height, width = image.shape[2:]
    padded = F.pad(image.permute(0, 2, 3, 1), (0, 0, 0, -width % step, 0, -height % step))
    pixels = padded.unflatten(2, (-1, step)).unflatten(1, (-1, step)).permute(0, 2, 4, 1, 3, 5)
    return pixels.flatten(0, 2).permute(0, 3, 1, 2)


def _joined(phases: Tensor, like: Tensor, step: int) -> Tensor:
    """Make of what :func:`_phases` gave the image again, in the order of memory of ``like``."""
    height, width = like.shape[2:]
    pixels = phases.permute(0, 2, 3, 1).unflatten(0, (-1, step, step)).permute(0, 3, 1, 4, 2, 5)
    image = pixels.flatten(3, 4).flatten(1, 2)[:, :height, :width].permute(0, 3, 1, 2)
    order = torch.contiguous_format if like.is_contiguous() else torch.channels_last
    return image.contiguous(memory_format=order)


_OTHERS: dict[Any, Callable[..., Tensor | None]] = {
    F.interpolate: _interpolate,
    F.conv2d: _conv2d,
}
