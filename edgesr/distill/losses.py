"""The losses of LKCA-Net and DACN.

Every image is a tensor [N, B, H, W]; every loss is a scalar whose gradient is finite for any
finite input, zero spectra and identical images included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

COSINE_MARGIN = 1e-6
"""Cosines are kept this far from -1 and 1, where the slope of acos is infinite."""

DARK = 1e-12
"""Squared norm below which a spectrum counts as zero, so that its direction is undefined."""

SMOOTH = 1e-6
"""What is added under the root of a gradient magnitude, whose slope at zero is infinite."""

DacnVariant = Literal["paper", "published"]


def _cosines(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine between the spectra of every pixel [N, H, W], and where both have a direction."""
    energy_a, energy_b = a.square().sum(1), b.square().sum(1)
    defined = (energy_a > DARK) & (energy_b > DARK)
    one = torch.ones_like(energy_a)
    norms = torch.where(defined, energy_a, one).sqrt() * torch.where(defined, energy_b, one).sqrt()
    return (a * b).sum(1) / norms, defined


def _mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(chosen, values, torch.zeros_like(values)).sum() / chosen.sum().clamp_min(1)


def spectral_angle(a: Tensor, b: Tensor) -> Tensor:
    """Mean angle between the spectra of each pixel, as a share of 180 degrees (0 to 1).

    LKCA-Net: mean(acos(cosine clamped by 1e-6)) / pi. Pixels where either spectrum is zero have no
    angle and are left out.
    """
    cosine, defined = _cosines(a, b)
    angle = cosine.clamp(-1 + COSINE_MARGIN, 1 - COSINE_MARGIN).acos()
    return _mean_where(angle, defined) / torch.pi


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """1 - mean cosine between the spectra of each pixel (0 to 2); zero spectra are left out."""
    cosine, defined = _cosines(a, b)
    return _mean_where(1 - cosine, defined)


def _forward_differences(image: Tensor) -> list[Tensor]:
    """Differences to the next band, row and column, on the interior that all three share.

    An axis of length 1 has no neighbour: its difference is zero and it is not shortened.
    """
    axes = (1, 2, 3)
    interior = image
    for axis in axes:
        interior = interior.narrow(axis, 0, max(1, image.shape[axis] - 1))
    differences = []
    for axis in axes:
        ahead = image
        for other in axes:
            start = 1 if other == axis and image.shape[other] > 1 else 0
            ahead = ahead.narrow(other, start, interior.shape[other])
        differences.append(ahead - interior)
    return differences


def gradient_magnitude(image: Tensor) -> Tensor:
    """sqrt(dx^2 + dy^2 + dband^2 + 1e-6) of forward differences, [N, B-1, H-1, W-1]."""
    band, row, column = _forward_differences(image)
    return (band.square() + row.square() + column.square() + SMOOTH).sqrt()


def gradient_loss(a: Tensor, b: Tensor) -> Tensor:
    """L1 between the gradient magnitudes of two images."""
    return F.l1_loss(gradient_magnitude(a), gradient_magnitude(b))


def hh_loss(sr: Tensor, hr: Tensor, *, sam: float = 0.5, grad: float = 0.1) -> Tensor:
    """LKCA-Net's loss between super-resolved and true image: L1 + 0.5 SAM + 0.1 grad."""
    return F.l1_loss(sr, hr) + sam * spectral_angle(sr, hr) + grad * gradient_loss(sr, hr)


def kd_loss(
    student_features: Tensor | Sequence[Tensor],
    teacher_features: Tensor | Sequence[Tensor],
    *,
    cos: float = 0.5,
    sam: float = 0.5,
    grad: float = 0.1,
) -> Tensor:
    """LKCA-Net's distillation loss between upsampler outputs: 0.5 cos + 0.5 SAM + 0.1 grad.

    Features are tensors [N, C, H, W], one for each upsampling site; the loss is the mean over the
    sites.
    """
    if isinstance(student_features, Tensor):
        student_features = [student_features]
    if isinstance(teacher_features, Tensor):
        teacher_features = [teacher_features]
    losses = [
        cos * cosine_distance(student, teacher)
        + sam * spectral_angle(student, teacher)
        + grad * gradient_loss(student, teacher)
        for student, teacher in zip(student_features, teacher_features, strict=True)
    ]
    return torch.stack(losses).mean()


def _difference_error(sr: Tensor, hr: Tensor, axis: int) -> Tensor:
    if sr.shape[axis] == 1:
        return sr.new_zeros(())
    return F.mse_loss(sr.diff(dim=axis), hr.diff(dim=axis))


def dacn_loss(
    sr: Tensor,
    hr: Tensor,
    parameters: Iterable[Tensor] = (),
    variant: DacnVariant = "paper",
    *,
    weight_penalty: float = 1e-4,
) -> Tensor:
    """DACN's loss: MSE + 1e-4 sum(w^2) + spatial + spectral gradient loss.

    The gradient losses are mean squared differences of forward differences, along rows and columns
    and along bands. ``variant="published"`` leaves the spectral term out, which is identically
    zero in the code that the authors published (arXiv 2506.05041). The penalty assumes images in
    [0, 1]; on raw digital numbers, as its authors trained, it weighs next to nothing.
    """
    loss = F.mse_loss(sr, hr) + _difference_error(sr, hr, 2) + _difference_error(sr, hr, 3)
    if variant == "paper":
        loss = loss + _difference_error(sr, hr, 1)
    penalties = [weight.square().sum() for weight in parameters]
    return loss + weight_penalty * torch.stack(penalties).sum() if penalties else loss
