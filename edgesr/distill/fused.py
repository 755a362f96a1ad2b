"""LKCA-Net's losses in few passes over memory, with a backward pass of their own.

What :mod:`edgesr.distill.losses` says, these functions give, values and gradients: that module is
the truth that they are tested against. Norms and products of the spectra are taken once for cosine
and angle, differences once for value and gradient, and everything in pieces that stay in the
processor's cache. The gradient is made together with the value, for the first image alone: the
second is a target and held constant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from edgesr.distill.losses import COSINE_MARGIN, DARK, SMOOTH

PIECE = 2**16
"""Numbers that are worked on at once on a CPU: some arrays of that size fit the cache of a core."""


@dataclass(frozen=True)
class _Terms:
    """Weights of the terms of a loss."""

    l1: float = 0.0
    cos: float = 0.0
    sam: float = 0.0
    grad: float = 0.0


def hh_loss(sr: Tensor, hr: Tensor, *, sam: float = 0.5, grad: float = 0.1) -> Tensor:
    """:func:`edgesr.distill.losses.hh_loss`, with a gradient for ``sr`` alone."""
    return _loss(sr, hr, _Terms(l1=1.0, sam=sam, grad=grad))


def kd_loss(
    student_features: Tensor | Sequence[Tensor],
    teacher_features: Tensor | Sequence[Tensor],
    *,
    cos: float = 0.5,
    sam: float = 0.5,
    grad: float = 0.1,
) -> Tensor:
    """:func:`edgesr.distill.losses.kd_loss`, with a gradient for the student alone."""
    if isinstance(student_features, Tensor):
        student_features = [student_features]
    if isinstance(teacher_features, Tensor):
        teacher_features = [teacher_features]
    terms = _Terms(cos=cos, sam=sam, grad=grad)
    losses = [
        _loss(student, teacher, terms)
        for student, teacher in zip(student_features, teacher_features, strict=True)
    ]
    return torch.stack(losses).mean()


def _loss(image: Tensor, target: Tensor, terms: _Terms) -> Tensor:
    loss: Tensor = _Loss.apply(image, target, terms)
    return loss


class _Loss(torch.autograd.Function):
    """Value and gradient at once, in float32 at least, whatever the images come in."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor, terms: _Terms) -> Tensor:
        wide = torch.promote_types(image.dtype, torch.float32)
        a, b = (one.detach().to(wide).contiguous() for one in (image, target))
        slope = torch.zeros_like(a) if ctx.needs_input_grad[0] else None
        value = a.new_zeros(())
        if terms.l1:
            value += _absolute(a, b, terms.l1, slope)
        if terms.cos or terms.sam:
            value += _directions(a, b, terms.cos, terms.sam, slope)
        if terms.grad:
            value += _magnitudes(a, b, terms.grad, slope)
        ctx.slope, ctx.kind = slope, image.dtype
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        return (ctx.slope * upstream).to(ctx.kind), None, None


def _pieces(image: Tensor, bands: int, least: int = 1) -> Iterator[slice]:
    """Ranges of bands that are worked on at once, at least so many; all of them on a GPU."""
    pixels = image.numel() // image.shape[1]
    step = max(least, PIECE // max(1, pixels)) if image.device.type == "cpu" else bands
    for first in range(0, bands, step):
        yield slice(first, min(bands, first + step))


def _absolute(a: Tensor, b: Tensor, weight: float, slope: Tensor | None) -> Tensor:
    """``weight`` times the mean absolute difference; its gradient is added to ``slope``."""
    sums = []
    for part in _pieces(a, a.shape[1]):
        difference = a[:, part] - b[:, part]
        sums.append(difference.abs().sum())
        if slope is not None:
            slope[:, part].add_(difference.sign_(), alpha=weight / a.numel())
    return torch.stack(sums).sum() * (weight / a.numel())


def _directions(a: Tensor, b: Tensor, cos: float, sam: float, slope: Tensor | None) -> Tensor:
    """``cos`` times 1 - cosine plus ``sam`` times the angle between spectra, as a share of pi."""
    energy_a, energy_b, product = (a.new_zeros(a[:, 0].shape) for _ in range(3))
    for part in _pieces(a, a.shape[1], least=8):
        x, y = a[:, part], b[:, part]
        energy_a += (x * x).sum(1)
        energy_b += (y * y).sum(1)
        product += (x * y).sum(1)
    defined = (energy_a > DARK) & (energy_b > DARK)
    count = defined.sum().clamp_min(1)
    energy_a, energy_b = (torch.where(defined, e, 1.0) for e in (energy_a, energy_b))
    norms = energy_a.sqrt() * energy_b.sqrt()
    cosine = product / norms
    limit = 1 - COSINE_MARGIN
    clamped = cosine.clamp(-limit, limit)
    terms = cos * (1 - cosine) + (sam / math.pi) * clamped.acos()
    if slope is not None:
        angle = torch.where(cosine == clamped, (1 - clamped.square()).rsqrt(), 0.0)
        steep = torch.where(defined, -cos - (sam / math.pi) * angle, 0.0) / count
        along_b, along_a = steep / norms, -steep * cosine / energy_a
        for part in _pieces(a, a.shape[1]):
            slope[:, part].addcmul_(b[:, part], along_b[:, None])
            slope[:, part].addcmul_(a[:, part], along_a[:, None])
    return torch.where(defined, terms, 0.0).sum() / count


def _magnitudes(a: Tensor, b: Tensor, weight: float, slope: Tensor | None) -> Tensor:
    """``weight`` times the mean absolute difference between gradient magnitudes.

    A neighbour lies a fixed step ahead in memory. Steps that run over the end of a row or a plane
    give numbers that mean nothing; the mask leaves them out. Magnitudes are those of the reference
    to the bit (hence no fused multiply-add): where two differ by rounding alone, it decides the
    sign of a gradient.
    """
    images, bands, height, width = a.shape
    sizes = ((height * width, bands), (width, height), (1, width))
    steps = [step for step, size in sizes if size > 1]
    if not steps:
        return a.new_zeros(())
    inside = [max(1, size - 1) for size in (bands, height, width)]
    mask = a.new_zeros(height, width)
    mask[: inside[1], : inside[2]] = 1
    share = weight / (images * math.prod(inside))
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    flat_slope = None if slope is None else slope.view(images, -1)
    last = flat_a.shape[1] - sum(steps)
    sums = []
    for part in _pieces(a, inside[0]):
        start, stop = part.start * mask.numel(), min(last, part.stop * mask.numel())
        here = slice(start, stop)
        ahead = [slice(start + step, stop + step) for step in steps]
        true, _ = _magnitude(flat_b, here, ahead)
        found, differences = _magnitude(flat_a, here, ahead)
        error = found - true
        error *= mask.flatten().repeat(part.stop - part.start)[: stop - start]
        sums.append(error.abs().sum())
        if flat_slope is not None:
            factor = error.sign_().div_(found)
            for difference, there in zip(differences, ahead, strict=True):
                difference *= factor
                flat_slope[:, there].add_(difference, alpha=share)
                flat_slope[:, here].sub_(difference, alpha=share)
    return torch.stack(sums).sum() * share


def _magnitude(flat: Tensor, here: slice, ahead: Sequence[slice]) -> tuple[Tensor, list[Tensor]]:
    """Gradient magnitudes, and the differences that they are made of."""
    differences = [flat[:, there] - flat[:, here] for there in ahead]
    square = differences[0].square()
    for difference in differences[1:]:
        square += difference.square()
    return square.add_(SMOOTH).sqrt_(), differences
