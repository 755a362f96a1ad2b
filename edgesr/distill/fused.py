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


def l1_loss(image: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference, with a gradient for ``image`` alone."""
    return _loss(image, target, _Terms(l1=1.0))


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
        axes = _axes(image)
        a, b = (one.detach().to(wide).permute(0, *axes).contiguous() for one in (image, target))
        slope = torch.zeros_like(a) if ctx.needs_input_grad[0] else None
        value = a.new_zeros(())
        if terms.l1:
            value += _absolute(a, b, terms.l1, slope)
        if terms.cos or terms.sam:
            value += _directions(a, b, axes, terms.cos, terms.sam, slope)
        if terms.grad:
            value += _magnitudes(a, b, axes, terms.grad, slope)
        ctx.slope, ctx.kind, ctx.axes = slope, image.dtype, axes
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        slope = (ctx.slope * upstream).to(ctx.kind)
        return slope.permute(0, *(1 + ctx.axes.index(axis) for axis in (1, 2, 3))), None, None


def _axes(image: Tensor) -> tuple[int, int, int]:
    """Axes of an image from the outermost in memory to the innermost: as planes, or bands last."""
    last = image.is_contiguous(memory_format=torch.channels_last)
    return (2, 3, 1) if last and not image.is_contiguous() else (1, 2, 3)


def _pieces(image: Tensor, length: int, axis: int = 1) -> Iterator[slice]:
    """Ranges of an axis of so many entries that are worked on at once; all of them on a GPU."""
    entry = image.numel() // image.shape[axis]
    step = max(1, PIECE // entry) if image.device.type == "cpu" else length
    for first in range(0, length, step):
        yield slice(first, min(length, first + step))


def _absolute(a: Tensor, b: Tensor, weight: float, slope: Tensor | None) -> Tensor:
    """``weight`` times the mean absolute difference; its gradient is added to ``slope``."""
    sums = []
    for part in _pieces(a, a.shape[1]):
        difference = a[:, part] - b[:, part]
        sums.append(difference.abs().sum())
        if slope is not None:
            slope[:, part].add_(difference.sign_(), alpha=weight / a.numel())
    return torch.stack(sums).sum() * (weight / a.numel())


def _directions(
    a: Tensor, b: Tensor, axes: Sequence[int], cos: float, sam: float, slope: Tensor | None
) -> Tensor:
    """``cos`` times 1 - cosine plus ``sam`` times the angle between spectra, as a share of pi."""
    band, row = 1 + axes.index(1), 1 + axes.index(2)

    def sums(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum(band, keepdim=True)

    rows = [(slice(None),) * row + (part,) for part in _pieces(a, a.shape[row], row)]
    products = [(sums(a[i], a[i]), sums(b[i], b[i]), sums(a[i], b[i])) for i in rows]
    energy_a, energy_b, product = (torch.cat(one, row) for one in zip(*products, strict=True))
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
        for i in rows:
            slope[i].addcmul_(b[i], along_b[i]).addcmul_(a[i], along_a[i])
    return torch.where(defined, terms, 0.0).sum() / count


def _magnitudes(
    a: Tensor, b: Tensor, axes: Sequence[int], weight: float, slope: Tensor | None
) -> Tensor:
    """``weight`` times the mean absolute difference between gradient magnitudes.

    A neighbour lies a fixed step ahead in memory. Steps that run over the end of an axis give
    numbers that mean nothing; the mask leaves them out. Magnitudes are those of the reference to
    the bit (hence its order, and no fused multiply-add): where two differ by rounding alone, it
    decides the sign of a gradient.
    """
    images, *sizes = a.shape
    strides = a.stride()[1:]
    steps = [strides[i] for i in map(axes.index, (1, 2, 3)) if sizes[i] > 1]
    if not steps:
        return a.new_zeros(())
    inside = [max(1, size - 1) for size in sizes]
    mask = a.new_zeros(sizes[1:])
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
