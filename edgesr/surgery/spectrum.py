"""Singular values of an upsampler, and how many of them matter.

The matrix is the one whose rank-R form is exactly a pair of cheaper layers:

- convolution (sub-pixel or after a resize): [C_out, C_in*k*k]; rank R is a k x k convolution to
  R channels followed by a 1 x 1 convolution;
- transposed convolution: [C_out*k*k, C_in]; rank R is a 1 x 1 convolution to R channels followed
  by a transposed one. Parallel layers are stacked by rows, since they can share the 1 x 1 factor.

The LKCA-Net paper ("Rethinking the Upsampling Layer in Hyperspectral Image Super Resolution",
Fig. 4) plots the cumulative *sum* of the singular values; the squared energy is what a truncation
loses, and always asks for fewer values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgesr.errors import ModelError, OptionError
from edgesr.surgery.layers import dense_weight
from edgesr.surgery.sites import Site

CRITERIA = ("sum", "energy")


@dataclass(frozen=True)
class Spectrum:
    """Singular values, descending, of a [``rows``, ``cols``] matrix.

    >>> Spectrum(np.array([3.0, 1.0]), rows=2, cols=2).rank(0.9, "energy")
    1
    """

    values: NDArray[np.float64]
    rows: int
    cols: int

    def cumulative(self, criterion: str = "sum") -> NDArray[np.float64]:
        """Share, in (0, 1], that the first r values hold: of the sum, or of the sum of squares."""
        if criterion not in CRITERIA:
            raise OptionError(f"rank criterion must be one of {CRITERIA}, got {criterion!r}")
        weights = self.values if criterion == "sum" else self.values**2
        total = np.cumsum(weights)
        return total / total[-1]

    def rank(self, target: float, criterion: str = "sum") -> int:
        """Fewest values that hold the share ``target``, in (0, 1]."""
        if not 0 < target <= 1:
            raise OptionError(f"rank target must lie in (0, 1], got {target}: try 0.9")
        reached = self.cumulative(criterion) >= target * (1 - 1e-12)
        return int(np.argmax(reached)) + 1

    @property
    def effective_rank(self) -> float:
        """exp of the entropy of the normalised singular values (Roy and Vetterli, 2007)."""
        shares = self.values / self.values.sum()
        shares = shares[shares > 0]
        return float(np.exp(-(shares * np.log(shares)).sum()))


def rank_matrix(model: nn.Module, site: Site) -> Tensor:
    """The float64 matrix [rows, cols] of the site, as the module's text defines it."""
    weights = [dense_weight(model.get_submodule(path)) for path in site.layers]
    if site.kind == "transposed":
        return torch.cat([weight.flatten(1).T for weight in weights])
    return torch.cat([weight.flatten(1) for weight in weights])


def spectrum(model: nn.Module, site: Site) -> Spectrum:
    """Singular values of the site in float64; :class:`ModelError` for zero or broken weights."""
    matrix = rank_matrix(model, site)
    if not matrix.isfinite().all():
        raise ModelError(f"the weights of {site.name!r} are not all finite: train the network anew")
    if not matrix.any():
        raise ModelError(f"the weights of {site.name!r} are all zero: train the network first")
    return Spectrum(torch.linalg.svdvals(matrix).numpy(), *matrix.shape)
