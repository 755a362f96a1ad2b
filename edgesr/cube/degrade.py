"""From the high-resolution image to the low-resolution one, and the plain way back up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesr.errors import DataError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

METHODS = ("bicubic", "area")


def degrade(hr: Tensor, scale: int, method: str = "bicubic") -> Tensor:
    """Low-resolution images [N, B, H / scale, W / scale] of ``hr`` [N, B, H, W], float.

    ``bicubic`` is antialiased with a = -0.5 (LKCA-Net, and what Pillow and MATLAB do); it may
    overshoot the range of ``hr`` a little. ``area`` is the mean of scale x scale blocks (DACN).

    Raises:
        DataError: ``scale`` does not divide the height and the width.
        OptionError: unknown ``method`` or a scale below 1.
    """
    import torch.nn.functional as F

    height, width = hr.shape[-2:]
    check_scale(scale)
    if height % scale or width % scale:
        raise DataError(
            f"scale {scale} does not divide the image of {height} x {width} pixels; "
            f"use {height // scale * scale} x {width // scale * scale}, or another scale"
        )
    if method == "area":
        return F.avg_pool2d(hr, scale)
    if method == "bicubic":
        size = (height // scale, width // scale)
        return F.interpolate(hr, size=size, mode="bicubic", align_corners=False, antialias=True)
    raise OptionError(f"unknown degradation {method!r}; choose one of {', '.join(METHODS)}")


def bicubic_upsample(lr: Tensor, scale: int) -> Tensor:
    """Bicubic interpolation [N, B, h, w] -> [N, B, h * scale, w * scale].

    a = -0.75, half-pixel centres, no antialiasing: the skip connection of LKCA-Net and the
    baseline that every network has to beat.
    """
    import torch.nn.functional as F

    check_scale(scale)
    height, width = lr.shape[-2:]
    size = (height * scale, width * scale)
    return F.interpolate(lr, size=size, mode="bicubic", align_corners=False)


def check_scale(scale: int) -> None:
    """Raise OptionError unless ``scale`` is a whole number of at least 1."""
    if not isinstance(scale, int) or scale < 1:
        raise OptionError(f"the scale must be a whole number of at least 1, received {scale!r}")
