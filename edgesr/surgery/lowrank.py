"""A convolution or linear layer as a product of two of rank R.

A convolution becomes k x k to R channels, then 1 x 1 with the bias; a linear layer two of them; a
transposed convolution 1 x 1 to R channels, then k x k transposed, with one 1 x 1 for all layers of
a parallel pair.

In weight space the factors are the truncated SVD of the matrix that
:mod:`edgesr.surgery.spectrum` describes. With calibration moments S = L L^T the squared error of
the *output* is minimised:

- convolution: the SVD of W L has left vectors U, and the best rank-R operator is U_R U_R^T W
  (Eckart-Young for a whitened input; nothing is inverted, so rank-deficient features are safe);
- transposed convolution: the shared 1 x 1 factor spans the row space of U_R U_R^T M in the same
  way for single pixels; the k x k factor is then the least-squares fit to the output, in which
  neighbouring pixels overlap. The factor of the plain SVD is fitted too and the better one kept,
  so the result is never worse than weight space on the calibration data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from edgesr.errors import OptionError
from edgesr.surgery.calibrate import Moments
from edgesr.surgery.layers import (
    assign,
    bias_of,
    dense_weight,
    from_windows,
    has_own_bias,
    phases,
    tap_patterns,
    taps,
    to_windows,
)
from edgesr.surgery.least_squares import fit
from edgesr.surgery.sites import Site
from edgesr.surgery.spectrum import rank_matrix
from edgesr.surgery.structure import (
    Change,
    FactorisedConv,
    FactorisedTransposed,
    Geometry,
    apply_changes,
    clone,
)


@dataclass(frozen=True)
class Factorisation:
    """The decompositions that the low-rank forms of a site at every rank share, float64.

    ``bases`` are matrices with orthonormal columns, best first: one basis of the outputs for a
    convolution, one or two of the input channels for a transposed one. ``values`` are the
    singular values that belong to the first: squared, the output energy of each direction.
    """

    bases: tuple[Tensor, ...]
    moments: Moments | None
    values: Tensor


@torch.no_grad()
def factorise(model: nn.Module, site: Site, moments: Moments | None = None) -> Factorisation:
    """Decompose the site once, for :func:`lowrank` at many ranks."""
    matrix = rank_matrix(model, site)
    if site.kind != "transposed":
        if moments is not None:
            own_bias = has_own_bias(model.get_submodule(site.layers[0]))
            matrix = matrix @ torch.linalg.cholesky(moments.regularised(centred=own_bias))
        left, values, _ = torch.linalg.svd(matrix, full_matrices=False)
        return Factorisation((left,), moments, values)
    _, values, right = torch.linalg.svd(matrix, full_matrices=False)
    if moments is None:
        return Factorisation((right.T,), None, values)
    root = torch.linalg.cholesky(_pixel_moments(moments, site).regularised(centred=False))
    left, values, _ = torch.linalg.svd(matrix @ root, full_matrices=False)
    whitened, _ = torch.linalg.qr(matrix.T @ left)
    return Factorisation((whitened, right.T), moments, values)


def rank_for_error(factorisation: Factorisation, error: float) -> int:
    """Smallest rank, from 1, whose lost share of the output energy is at most ``error``, in [0, 1).

    The energy is that of the output on the calibration data about its mean where the layer has a
    bias (which carries the mean), about zero where not; without moments, of white input. For a
    transposed convolution, whose windows overlap, it is an estimate.
    """
    if not 0 <= error < 1:
        raise OptionError(f"the lost share of a layer's energy must lie in [0, 1), got {error}")
    squares = factorisation.values.square()
    lost = torch.cat([squares.flip(0).cumsum(0).flip(0)[1:], squares.new_zeros(1)])
    return int((lost > error * squares.sum()).sum().clamp_max(len(squares) - 1)) + 1


def lowrank_cost(site: Site, rank: int) -> tuple[int, int]:
    """Parameters and MACs of the site at ``rank`` (a shared factor counted once)."""
    weights = rank * (site.rows + site.cols)
    return weights + site.bias * site.out_channels, weights * site.positions


@torch.no_grad()
def lowrank(
    model: nn.Module,
    site: Site,
    rank: int,
    moments: Moments | None = None,
    *,
    factorisation: Factorisation | None = None,
) -> tuple[nn.Module, Change]:
    """A copy of ``model`` whose site has rank ``rank``, and the change that was made.

    ``moments`` are the site's, from :func:`edgesr.surgery.calibrate.moments`; without them the
    truncated SVD of the weights is used. ``factorisation`` saves decomposing anew for each rank
    (and holds its moments). Raises :class:`OptionError` for a rank outside 1 .. site.max_rank.
    """
    if not 1 <= rank <= site.max_rank:
        raise OptionError(f"rank of {site.name!r} must lie in 1 .. {site.max_rank}, got {rank}")
    shared = factorisation or factorise(model, site, moments)
    change: Change = {
        "pass": "lowrank",
        "site": site.name,
        "layers": list(site.layers),
        "rank": rank,
    }
    student = apply_changes(clone(model), [change])
    fill_lowrank(model, student, change, shared)
    return student, change


@torch.no_grad()
def fill_lowrank(
    model: nn.Module, student: nn.Module, change: Change, shared: Factorisation
) -> None:
    """Give the layers of ``student`` that ``change`` has made of those of ``model`` weights."""
    old = [model.get_submodule(path) for path in change["layers"]]
    new = [student.get_submodule(path) for path in change["layers"]]
    if isinstance(new[0], FactorisedTransposed):
        _fill_transposed(cast(list[FactorisedTransposed], new), old, change["rank"], shared)
    else:
        _fill_conv(cast(FactorisedConv, new[0]), old[0], change["rank"], shared)


def _fill_conv(new: FactorisedConv, old: nn.Module, rank: int, shared: Factorisation) -> None:
    weight, bias = dense_weight(old).flatten(1), bias_of(old)
    expand = shared.bases[0][:, :rank]
    reduce = expand.T @ weight
    balance = _balance(reduce, expand.T)
    assign(new.reduce.weight, reduce / balance)
    assign(new.expand.weight, expand * balance.T)
    if bias is not None:
        lost = weight - expand @ reduce
        assign(
            new.expand.bias, bias + shared.moments.bias_shift(lost, 1) if shared.moments else bias
        )


def _fill_transposed(
    new: list[FactorisedTransposed], old: list[nn.Module], rank: int, shared: Factorisation
) -> None:
    geometry = Geometry.of(old[0])
    second = shared.moments.regularised(centred=False) if shared.moments else None
    targets = torch.stack([to_windows(dense_weight(layer), geometry) for layer in old])
    solutions = [
        _fit_transposed(targets, basis[:, :rank].T, geometry, second) for basis in shared.bases
    ]
    best = min(solutions, key=lambda solution: solution.error)
    expands = [from_windows(matrix, geometry) for matrix in best.expand]
    balance = _balance(best.reduce, torch.cat([e.flatten(1) for e in expands], 1))
    assign(new[0].factor.weight, best.reduce / balance)
    for layer, source, expand, lost in zip(new, old, expands, best.lost, strict=True):
        assign(layer.expand.weight, expand.flatten(1) * balance)
        bias = bias_of(source)
        if bias is not None:
            moments = shared.moments
            assign(
                layer.expand.bias,
                bias + moments.bias_shift(lost, phases(geometry)) if moments else bias,
            )


@dataclass(frozen=True)
class _Solution:
    reduce: Tensor
    expand: Tensor
    lost: Tensor
    error: float


def _fit_transposed(
    targets: Tensor, reduce: Tensor, geometry: Geometry, second: Tensor | None
) -> _Solution:
    """Best k x k factors behind the 1 x 1 factor ``reduce`` [R, C_in], for all layers.

    ``targets`` are window matrices [layers, phases * C_out, C_in * taps].
    """
    layers, rank, window = len(targets), len(reduce), math.prod(taps(geometry))
    wanted = targets.reshape(layers, phases(geometry), geometry.out_channels, -1)
    expand = torch.zeros(*wanted.shape[:3], rank * window, dtype=targets.dtype)
    design = torch.kron(reduce.contiguous(), torch.eye(window, dtype=reduce.dtype))
    for phase, used in tap_patterns(geometry):
        active = used.repeat(rank)
        part = wanted[:, phase]
        solution = fit(part.flatten(0, 2), design[active], second)
        filled = torch.zeros(len(solution), rank * window, dtype=targets.dtype)
        filled[:, active] = solution
        expand[:, phase] = filled.reshape(*part.shape[:3], -1)
    lost = (wanted - expand @ design).reshape(targets.shape)
    weighted = lost if second is None else lost @ second
    return _Solution(
        reduce, expand.reshape(*targets.shape[:2], -1), lost, float((weighted * lost).sum())
    )


def _pixel_moments(moments: Moments, site: Site) -> Moments:
    """Moments of single input pixels: every tap of a window passes over every pixel once."""
    window = len(moments.mean) // site.in_channels
    return Moments(moments.second[::window, ::window], moments.mean[::window], moments.count)


def _balance(reduce: Tensor, expand: Tensor) -> Tensor:
    """Column [R, 1] that, dividing ``reduce`` and multiplying ``expand``, gives both equal norms.

    Rows of both belong to the R inner channels. Balanced factors train and round alike.
    """
    norms = [factor.norm(dim=1, keepdim=True) for factor in (reduce, expand)]
    ratio = (norms[0] / norms[1]).sqrt()
    return torch.where((norms[0] > 0) & (norms[1] > 0), ratio, torch.ones_like(ratio))
