"""The closed forms that the data-aware passes share."""

from __future__ import annotations

import torch
from torch import Tensor

from edgesr.surgery.layers import tap_patterns
from edgesr.surgery.structure import Geometry


def fit(target: Tensor, design: Tensor, second: Tensor | None) -> Tensor:
    """Coefficients B [o, m] for which ``B @ design`` acts most like ``target`` [o, n].

    Minimises tr((target - B design) S (target - B design)^T), S = ``second`` [n, n] definite, or
    the identity for None. The rows of ``design`` [m, n] are orthonormal. Solved as a correction
    of the weight-space solution, so that a representable target is met to rounding.
    """
    start = target @ design.T
    if second is None:
        return start
    cross = second @ design.T
    rest = (target - start @ design) @ cross
    return start + torch.cholesky_solve(rest.T, torch.linalg.cholesky(design @ cross)).T


def fit_groups(
    target: Tensor,
    geometry: Geometry,
    groups: int,
    second: Tensor | None,
    reads: Tensor | None = None,
) -> Tensor:
    """Best stand-in for ``target`` in which each group of outputs reads its own inputs alone.

    Args:
        target: window matrix [phases, C_out, C_in * taps].
        geometry: of its layer; only the number of its outputs is free.
        groups: that there are to be.
        second: of the windows, as :func:`fit` takes it.
        reads: [C_in] of bool, input channels that may be read; None for all.
    """
    fitted = torch.zeros_like(target)
    identity = torch.eye(target.shape[2], dtype=target.dtype)
    channels = torch.arange(geometry.in_channels)
    height = target.shape[1] // groups
    for group in range(groups):
        rows = slice(group * height, (group + 1) * height)
        own = channels * groups // geometry.in_channels == group
        for phase, used in tap_patterns(geometry):
            columns = torch.outer(own if reads is None else own & reads, used).flatten()
            wanted = target[phase, rows]
            solution = fit(wanted.flatten(0, 1), identity[columns], second)
            fitted[phase, rows] = (solution @ identity[columns]).reshape(wanted.shape)
    return fitted
