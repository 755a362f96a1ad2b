"""The one closed form that the data-aware passes share."""

from __future__ import annotations

import torch
from torch import Tensor


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
