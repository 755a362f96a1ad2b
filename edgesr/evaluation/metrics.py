"""Six measures of how well an image was super-resolved.

Each takes the super-resolved and the true image as tensors [N, B, H, W] in [0, 1], is computed in
float64, and returns the mean over the N images as a scalar tensor (:func:`psnr`: of each band).

Two conventions exist in the papers that edgesr reproduces:

* ``standard`` (LKCA-Net): PSNR against a peak of 1; SSIM with an 11 x 11 Gaussian window
  (sigma 1.5) and a data range of 1.
* ``dacn`` (arXiv 2506.05041): PSNR against the maximum of the true image; SSIM with a 7 x 7
  uniform window and the range (maximum - minimum) of the true image.

The other four measures are the same in both.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from edgesr.errors import DataError

Convention = Literal["standard", "dacn"]

PERFECT_MSE = 1e-10
"""Smallest mean squared error that counts, so that equal images read 100 dB and not infinity."""

_AXES = (2, 3)


def _pair(sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    if sr.ndim != 4 or sr.shape != hr.shape:
        raise DataError(
            f"metrics compare two images [N, B, H, W] of one shape, received {list(sr.shape)} and "
            f"{list(hr.shape)}; crop or super-resolve to the same size first"
        )
    return sr.detach().double(), hr.detach().double()


def mpsnr(sr: Tensor, hr: Tensor, *, convention: Convention = "standard") -> Tensor:
    """Mean over the bands of :func:`psnr`, in dB (at most 100 for peak 1)."""
    return psnr(sr, hr, convention=convention).mean()


def psnr(sr: Tensor, hr: Tensor, *, convention: Convention = "standard") -> Tensor:
    """Peak signal-to-noise ratio [N, B] of each band of each image, in dB."""
    sr, hr = _pair(sr, hr)
    error = (sr - hr).square().mean(_AXES).clamp_min(PERFECT_MSE)
    peak = hr.amax((1, 2, 3)).square()[:, None] if convention == "dacn" else torch.ones_like(error)
    return 10 * (peak.clamp_min(PERFECT_MSE) / error).log10()


def _gaussian(size: int, sigma: float) -> Tensor:
    position = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weight = (-(position / sigma).square() / 2).exp()
    return weight / weight.sum()


def _smooth(image: Tensor, profile: Tensor) -> Tensor:
    """Separable weighted mean over a window, where the window lies wholly inside the image."""
    planes = image.flatten(0, 1)[:, None]
    planes = F.conv2d(planes, profile.view(1, 1, -1, 1))
    planes = F.conv2d(planes, profile.view(1, 1, 1, -1))
    return planes[:, 0].unflatten(0, image.shape[:2])


def mssim(sr: Tensor, hr: Tensor, *, convention: Convention = "standard") -> Tensor:
    """Mean over the bands of the structural similarity (-1 to 1), k1 = 0.01, k2 = 0.03.

    Only windows that lie inside the image count, so H and W must be at least 11 (``dacn``: 7).
    The uniform window uses the unbiased covariance, as scikit-image does by default.
    """
    sr, hr = _pair(sr, hr)
    if convention == "dacn":
        profile = torch.full((7,), 1 / 7, dtype=torch.float64)
        span = (hr.amax((1, 2, 3)) - hr.amin((1, 2, 3))).clamp_min(1e-12)
        unbiased = 49 / 48
    else:
        profile = _gaussian(11, 1.5)
        span = torch.ones(len(hr), dtype=torch.float64)
        unbiased = 1.0
    if min(hr.shape[2:]) < len(profile):
        raise DataError(
            f"SSIM needs an image of at least {len(profile)} x {len(profile)} pixels, received "
            f"{hr.shape[2]} x {hr.shape[3]}; use a larger window"
        )
    profile, span = profile.to(hr.device), span.to(hr.device).view(-1, 1, 1, 1)
    bands = [  # one at a time: all together take gigabytes, and four times as long
        _similarity(one, other, profile, span, unbiased)
        for one, other in zip(sr.split(1, 1), hr.split(1, 1), strict=True)
    ]
    return torch.cat(bands, 1).mean()


def _similarity(sr: Tensor, hr: Tensor, profile: Tensor, span: Tensor, unbiased: float) -> Tensor:
    """Structural similarity [N, B] of each band."""
    mean_sr, mean_hr = _smooth(sr, profile), _smooth(hr, profile)
    var_sr = unbiased * (_smooth(sr * sr, profile) - mean_sr * mean_sr)
    var_hr = unbiased * (_smooth(hr * hr, profile) - mean_hr * mean_hr)
    covariance = unbiased * (_smooth(sr * hr, profile) - mean_sr * mean_hr)
    c1, c2 = (0.01 * span).square(), (0.03 * span).square()
    luminance = (2 * mean_sr * mean_hr + c1) / (mean_sr.square() + mean_hr.square() + c1)
    structure = (2 * covariance + c2) / (var_sr + var_hr + c2)
    return (luminance * structure).mean(_AXES)


def sam(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean angle between the spectra of each pixel, in degrees; zero spectra are left out."""
    sr, hr = _pair(sr, hr)
    norms = sr.norm(dim=1) * hr.norm(dim=1)
    defined = norms > 0
    cosine = (sr * hr).sum(1) / torch.where(defined, norms, torch.ones_like(norms))
    angle = torch.where(defined, cosine.clamp(-1, 1).acos(), torch.zeros_like(cosine))
    per_image = angle.sum((1, 2)) / defined.sum((1, 2)).clamp_min(1)
    return per_image.mean().rad2deg()


def cc(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean over the bands of Pearson's correlation (-1 to 1); a flat band counts 0."""
    sr, hr = _pair(sr, hr)
    sr, hr = sr - sr.mean(_AXES, keepdim=True), hr - hr.mean(_AXES, keepdim=True)
    spread = (sr.square().mean(_AXES) * hr.square().mean(_AXES)).sqrt()
    return ((sr * hr).mean(_AXES) / spread.clamp_min(1e-15)).mean()


def rmse(sr: Tensor, hr: Tensor) -> Tensor:
    """Root mean squared error over all bands and pixels of an image."""
    sr, hr = _pair(sr, hr)
    return (sr - hr).square().mean((1, 2, 3)).sqrt().mean()


def ergas(sr: Tensor, hr: Tensor, scale: int) -> Tensor:
    """Relative global error 100 / scale * sqrt(mean over bands of (rmse_b / mean_b)^2).

    Wald (2000). Bands whose true mean is zero have no relative error and are left out.
    """
    sr, hr = _pair(sr, hr)
    error, mean = (sr - hr).square().mean(_AXES), hr.mean(_AXES).square()
    defined = mean > 0
    relative = torch.where(defined, error / torch.where(defined, mean, 1.0), 0.0)
    per_image = relative.sum(1) / defined.sum(1).clamp_min(1)
    return 100 / scale * per_image.sqrt().mean()


def evaluate_pair(
    sr: Tensor, hr: Tensor, scale: int, *, convention: Convention = "standard"
) -> dict[str, float]:
    """All six measures by name: mpsnr, mssim, sam, cc, rmse, ergas."""
    return {
        "mpsnr": float(mpsnr(sr, hr, convention=convention)),
        "mssim": float(mssim(sr, hr, convention=convention)),
        "sam": float(sam(sr, hr)),
        "cc": float(cc(sr, hr)),
        "rmse": float(rmse(sr, hr)),
        "ergas": float(ergas(sr, hr, scale)),
    }
