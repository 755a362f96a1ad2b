"""Second moments of what really enters a layer, gathered over batches.

Every closed form of the passes needs nothing else of the data: for any replacement W' the mean
squared error of the layer's output is tr((W - W') S (W - W')^T), S the second moment of the
windows (see :mod:`edgesr.surgery.layers`) that the layer sees, zero padding included.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgesr.errors import DataError
from edgesr.surgery.layers import (
    bias_of,
    dense_weight,
    has_own_bias,
    phases,
    to_windows,
    windows,
)
from edgesr.surgery.sites import Site, evaluating
from edgesr.surgery.structure import Geometry

RIDGE = 1e-6
"""Regulariser, relative to the mean variance of a feature."""

_ROUNDING = 1e-12
"""Floor of the regulariser, relative to the mean square: what cancellation leaves uncertain."""


@dataclass(frozen=True)
class Moments:
    """Moments of the ``count`` windows that a site has seen, float64 on the CPU.

    ``second`` [n, n] is the mean of x x^T, ``mean`` [n] the mean of x; n = C_in * taps.
    """

    second: Tensor
    mean: Tensor
    count: int

    def regularised(self, centred: bool) -> Tensor:
        """Second moment (covariance if ``centred``) plus a multiple of the identity; definite.

        Features that never vary, or only together, keep the weight-space solution. The ridge
        cannot make a pass worse than weight space on the data: a minimiser of
        tr(D S D^T) + r |D|^2 beats the minimiser of |D|^2 in the sum, thus in the first term.
        """
        square = self.second.diagonal().mean()
        matrix = self.second - torch.outer(self.mean, self.mean) if centred else self.second
        ridge = RIDGE * matrix.diagonal().mean().clamp_min(0) + _ROUNDING * square
        identity = torch.eye(len(matrix), dtype=matrix.dtype)
        return matrix + ridge * identity if ridge > 0 else identity

    def bias_shift(self, lost: Tensor, phases: int) -> Tensor:
        """Mean output [C_out] of the matrix ``lost`` [phases * C_out, n], for the bias to carry."""
        return (lost @ self.mean).reshape(phases, -1).mean(0)


def moments(model: nn.Module, site: Site, inputs: Iterable[Tensor], limit: int = 50_000) -> Moments:
    """Moments of one site; see :func:`all_moments`."""
    return all_moments(model, [site], inputs, limit)[site.name]


@torch.no_grad()
def all_moments(
    model: nn.Module, sites: Sequence[Site], inputs: Iterable[Tensor], limit: int = 50_000
) -> dict[str, Moments]:
    """Moments of each site by name, from one pass over ``inputs``.

    ``inputs`` are network inputs, [N, B, h, w] or [B, h, w]; mix the scene well, since a site sees
    no further input once it has seen ``limit`` windows. The model runs in evaluation mode and is
    left as it was. Accumulates X^T X in float64 in blocks; 50 000 windows of 1152 features take
    about five seconds on one core. Raises :class:`DataError` without inputs and for features
    that are not finite.
    """
    sums = {
        site.name: _Sums(Geometry.of(model.get_submodule(site.layers[0])), limit) for site in sites
    }
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        for site in sites:
            layer = model.get_submodule(site.layers[0])
            handle = layer.register_forward_pre_hook(sums[site.name].observe)
            stack.callback(handle.remove)
        for batch in inputs:
            model(batch if batch.ndim > 3 else batch[None])
            if all(total.count >= limit for total in sums.values()):
                break
    return {name: total.moments(name) for name, total in sums.items()}


@torch.no_grad()
def reconstruction_error(
    model: nn.Module, student: nn.Module, site: Site, moments: Moments
) -> float:
    """Share, from 0, of the site's output energy that its replacement in ``student`` loses.

    The mean squared error of the output over ``moments`` (those of the site in ``model``), biases
    included, divided by the output's energy: about its mean where the layer has a bias of its own,
    about zero where not. Infinite for an error in what never varies.
    """
    error = energy = 0.0
    for path in site.layers:
        old, new = model.get_submodule(path), student.get_submodule(path)
        geometry = Geometry.of(old)
        wanted = to_windows(dense_weight(old), geometry)
        lost = wanted - to_windows(dense_weight(new), Geometry.of(new))
        shift = wanted.new_zeros(len(wanted))
        before, after = bias_of(old), bias_of(new)
        if before is not None and after is not None:
            shift = (before - after).repeat(phases(geometry))
        error += float(((lost @ moments.second) * lost).sum())
        error += float(2 * (lost @ moments.mean) @ shift + shift @ shift)
        energy += float(((wanted @ moments.second) * wanted).sum())
        if has_own_bias(old):
            energy -= float((wanted @ moments.mean).square().sum())
    return error / energy if energy > 0 else (math.inf if error > 0 else 0.0)


class _Sums:
    def __init__(self, geometry: Geometry, limit: int) -> None:
        self.geometry = geometry
        self.limit = limit
        self.count = 0
        self._second: Tensor | None = None
        self._first: Tensor | None = None

    def observe(self, layer: nn.Module, args: tuple[Any, ...]) -> None:
        if self.count >= self.limit:
            return
        for block in windows(args[0].detach(), self.geometry):
            columns = block.to(torch.float64)
            if self._second is None or self._first is None:
                self._second = columns.new_zeros(columns.shape[1], columns.shape[1])
                self._first = columns.new_zeros(columns.shape[1])
            self._second.addmm_(columns.T, columns)
            self._first += columns.sum(0)
            self.count += len(columns)

    def moments(self, name: str) -> Moments:
        if self._second is None or self._first is None:
            raise DataError(f"no calibration input reached {name!r}: give at least one patch")
        if not self._second.isfinite().all():
            raise DataError(
                f"the features before {name!r} are not all finite on the calibration data: "
                "check the input for NaN and that it is normalised to [0, 1]"
            )
        return Moments(
            (self._second / self.count).cpu(), (self._first / self.count).cpu(), self.count
        )
