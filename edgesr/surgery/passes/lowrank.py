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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

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
from edgesr.surgery.passes._base import BackbonePass, Step, UpsamplerPass
from edgesr.surgery.registry import register
from edgesr.surgery.sites import Site
from edgesr.surgery.spectrum import rank_matrix
from edgesr.surgery.structure import Change, Factorised, Geometry, positive

RANK_STEPS = (1024, 768, 512, 384, 256, 192, 128, 96, 64, 48, 32, 24, 16, 8)
"""Ranks of the walk: multiples of 8, as vector units and tensor cores want them."""


class FactorisedConv(Factorised):
    """A convolution of rank R: ``reduce`` is k x k from C_in to R, ``expand`` 1 x 1 to C_out."""

    def __init__(self, geometry: Geometry, rank: int) -> None:
        super().__init__(geometry)
        self.reduce = geometry.build(geometry.in_channels, rank, 1, bias=False)
        self.expand = geometry.pointwise(rank, geometry.out_channels, bias=geometry.bias)

    def dense(self, weight: Callable[[nn.Module], Tensor]) -> Tensor:
        return torch.tensordot(weight(self.expand).flatten(1), weight(self.reduce), 1)


class FactorisedLinear(FactorisedConv):
    """A linear layer of rank R: ``reduce`` from C_in to R, ``expand`` to C_out, on [*, C_in]."""


class FactorisedTransposed(Factorised):
    """A transposed convolution of rank R: ``reduce`` is 1 x 1 from C_in to R, ``expand`` k x k.

    Layers that read the same input may share the factor: all but the first are given the first
    one's ``reduce``. They refer to it without registering it, so that the state dict, the
    parameter count and the optimiser hold it once. It runs once a layer in PyTorch; the ONNX
    exporter's common-subexpression elimination merges the equal nodes into one.
    """

    def __init__(self, geometry: Geometry, rank: int, shared: nn.Module | None = None) -> None:
        super().__init__(geometry)
        if shared is None:
            self.reduce = geometry.pointwise(geometry.in_channels, rank, bias=False)
        self._shared = () if shared is None else (shared,)
        self.expand = geometry.build(rank, geometry.out_channels, 1, bias=geometry.bias)

    @property
    def factor(self) -> nn.Module:
        """The 1 x 1 convolution in use, own or shared."""
        return self._shared[0] if self._shared else self.reduce

    def factors(self) -> tuple[nn.Module, ...]:
        return self.factor, self.expand

    def dense(self, weight: Callable[[nn.Module], Tensor]) -> Tensor:
        return torch.tensordot(weight(self.factor).flatten(1).T, weight(self.expand), 1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """``x`` [N, C_in, h, w] -> [N, C_out, H, W]."""
        return self.expand(self.factor(x), output_size)


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
    return LowRank().apply(model, site, rank, moments, prepared=factorisation)


@register
class LowRank(UpsamplerPass[Factorisation], BackbonePass[int, Factorisation]):
    """The pass of this file."""

    name, title, letter, setting = "lowrank", "low-rank", "R", "rank"
    order, colours, marker = 10, ("#1c6ea4", "#6cb4e4"), "circle"
    one_graph = True

    def shape(self, change: Mapping[str, Any], layers: list[nn.Module]) -> list[nn.Module]:
        rank = positive(change, "rank")
        geometries = [Geometry.of(layer) for layer in layers]
        if not geometries[0].transposed:
            kind = FactorisedConv if geometries[0].kernel else FactorisedLinear
            return [kind(geometry, rank) for geometry in geometries]
        first = FactorisedTransposed(geometries[0], rank)
        rest = [FactorisedTransposed(g, rank, shared=first.reduce) for g in geometries[1:]]
        return [first, *rest]

    def check(self, site: Site, setting: int) -> None:
        if not 1 <= setting <= site.max_rank:
            raise OptionError(
                f"rank of {site.name!r} must lie in 1 .. {site.max_rank}, got {setting}"
            )

    def cost(self, site: Site, setting: int) -> tuple[int, int]:
        return lowrank_cost(site, setting)

    def prepare(self, model: nn.Module, site: Site, moments: Moments | None) -> Factorisation:
        return factorise(model, site, moments)

    @torch.no_grad()
    def fill(
        self, model: nn.Module, student: nn.Module, change: Change, prepared: Factorisation
    ) -> None:
        old = [model.get_submodule(path) for path in change["layers"]]
        new = [student.get_submodule(path) for path in change["layers"]]
        if isinstance(new[0], FactorisedTransposed):
            _fill_transposed(cast(list[FactorisedTransposed], new), old, change["rank"], prepared)
        else:
            _fill_conv(cast(FactorisedConv, new[0]), old[0], change["rank"], prepared)

    def admissible(self, site: Site) -> Sequence[int]:
        return [rank for rank in RANK_STEPS if rank <= site.max_rank]

    def steps(self, sites: Sequence[Site], starts: Mapping[str, int]) -> Iterator[Step]:
        """Ranks from the largest start, rounded up to a multiple of 8, down through
        :data:`RANK_STEPS`; a site never has more than its own start.
        """
        tops = {site.name: _round_up(starts[site.name]) for site in sites}
        top = max(tops.values())
        for rank in (top, *(step for step in RANK_STEPS if step < top)):
            yield rank, {name: min(rank, start) for name, start in tops.items()}

    def nearest(self, setting: int) -> int:
        return _round_up(setting)

    def at_target(self, sites: Sequence[Site], starts: Mapping[str, int]) -> int:
        return _round_up(max(starts.values()))

    def choices(self, settings: Sequence[int]) -> str:
        return f"{settings[0]} or less"

    def for_error(self, site: Site, prepared: Factorisation, error: float, step: int) -> int | None:
        return min(-(-rank_for_error(prepared, error) // step) * step, site.max_rank)


def _round_up(rank: int) -> int:
    return -(-rank // 8) * 8


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
