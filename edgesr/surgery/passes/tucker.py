"""A k x k convolution in Tucker-2 form: 1 x 1 to R_in, k x k to R_out, 1 x 1 with the bias.

Source: Kim et al., "Compression of Deep Convolutional Neural Networks for Fast and Low Power
Mobile Applications", 2016, arXiv 1511.06530. In weight space the factors are those of ``tensorly``
(higher-order orthogonal iteration, started from the higher-order SVD).

With calibration moments S the squared error of the *output* counts. The 1 x 1 factor in front
spans the row space of the best operator on single, whitened pixels. Behind such a basis A of the
input channels everything is exact. The window matrix W acts in D = A (x) I; with D S D^T = L L^T
and Y = W D^T L, the first R_in channels explain the output energy Y_m Y_m^T (Y_m: the first
m = R_in * taps columns), its leading R_out eigenvectors are the best 1 x 1 factor behind, and the
core is the least-squares fit. One Cholesky factor so serves every pair of ranks. The better of
these factors and those of weight space is kept, so the result is never worse than weight space on
the calibration data.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from tensorly.decomposition import partial_tucker
from torch import Tensor, nn

from edgesr.errors import ModelError, OptionError
from edgesr.surgery.calibrate import Moments
from edgesr.surgery.layers import assign, bias_of, dense_weight, has_own_bias
from edgesr.surgery.passes._base import BackbonePass
from edgesr.surgery.registry import register
from edgesr.surgery.sites import Site
from edgesr.surgery.structure import Change, Factorised, Geometry, positive

Ranks = tuple[int, int]
"""R_in and R_out: the inner channels before and behind the core."""


class TuckerConv(Factorised):
    """A convolution in Tucker-2 form.

    ``reduce`` is 1 x 1 from C_in to R_in, ``core`` k x k to R_out with the stride, padding and
    dilation, ``expand`` 1 x 1 to C_out. Without a bias ``reduce`` commutes with every padding
    mode, so the border is as exact as the rest.
    """

    def __init__(self, geometry: Geometry, rank_in: int, rank_out: int) -> None:
        super().__init__(geometry)
        self.reduce = geometry.pointwise(geometry.in_channels, rank_in, bias=False)
        self.core = geometry.build(rank_in, rank_out, 1, bias=False)
        self.expand = geometry.pointwise(rank_out, geometry.out_channels, bias=geometry.bias)

    def dense(self, weight: Callable[[nn.Module], Tensor]) -> Tensor:
        reduce, core, expand = map(weight, (self.reduce, self.core, self.expand))
        return torch.einsum(
            "or,rs...,si->oi...", expand.flatten(1), core, reduce.flatten(1)
        ).contiguous()


@dataclass(frozen=True)
class TuckerFactorisation:
    """What the Tucker-2 forms of a site at all ranks share, float64.

    ``basis`` [C_in, C_in] has orthonormal columns, best first; ``root`` and ``scores`` are L and Y
    of the module's text. ``lost`` [C_in, C_out] is the share of the output energy (as
    :func:`edgesr.surgery.rank_for_error` defines it) that each R_in and R_out, both from
    1, would lose; without moments that of weight space.
    """

    weight: Tensor
    basis: Tensor
    root: Tensor
    scores: Tensor
    lost: Tensor
    moments: Moments | None


def has_tucker(site: Site) -> bool:
    """Whether the site is one convolution with a kernel above 1 x 1."""
    return (
        site.kind not in ("linear", "transposed")
        and len(site.layers) == 1
        and math.prod(site.kernel) > 1
    )


def _require_form(site: Site) -> None:
    if not has_tucker(site):
        raise OptionError(
            f"{site.name!r} has no Tucker-2 form, which is for one convolution with a kernel above "
            "1 x 1: use a low-rank pass instead"
        )


@torch.no_grad()
def factorise_tucker(
    model: nn.Module, site: Site, moments: Moments | None = None
) -> TuckerFactorisation:
    """Decompose the site once, for :func:`tucker` and :func:`tucker_for_error` at many ranks.

    Raises :class:`OptionError` for a site that is no convolution with a kernel above 1 x 1.
    """
    _require_form(site)
    layer = model.get_submodule(site.layers[0])
    weight = dense_weight(layer).flatten(2)  # [C_out, C_in, taps]
    second = torch.eye(weight[0].numel(), dtype=weight.dtype)
    if moments is not None:
        second = moments.regularised(centred=has_own_bias(layer))
    basis = _input_basis(weight, second)
    turned = _turn(second, basis, weight.shape[2])
    root = torch.linalg.cholesky((turned + turned.T) / 2)
    scores = torch.einsum("oit,ir->ort", weight, basis).flatten(1) @ root
    total = float(scores.square().sum())
    lost = []
    energy = scores.new_zeros(len(weight), len(weight))
    for part in scores.split(weight.shape[2], dim=1):
        energy = energy + part @ part.T
        kept = torch.linalg.eigvalsh(energy).flip(0).cumsum(0)
        lost.append((1 - kept / total).clamp_min(0) if total else torch.zeros_like(kept))
    return TuckerFactorisation(weight, basis, root, scores, torch.stack(lost), moments)


def _input_basis(weight: Tensor, second: Tensor) -> Tensor:
    """Orthonormal [C_in, C_in] whose first columns span what the outputs want of single pixels."""
    _, inputs, window = weight.shape
    pixels = torch.stack([second[t::window, t::window] for t in range(window)]).mean(0)
    matrix = weight.permute(0, 2, 1).reshape(-1, inputs)
    whitened = matrix @ torch.linalg.cholesky(pixels)
    _, directions = torch.linalg.eigh(whitened.T @ whitened)
    # rows U^T matrix, U the left singular vectors of the whitened matrix, up to their length
    rows = matrix.T @ (whitened @ directions.flip(1))
    return torch.linalg.qr(rows / rows.norm(dim=0).clamp_min(1e-300))[0]


def _turn(second: Tensor, basis: Tensor, window: int) -> Tensor:
    """D S D^T for D = basis^T (x) I_window."""
    inputs = len(basis)
    grid = second.reshape(inputs, window, inputs, window)
    return torch.einsum("ir,isjt,jq->rsqt", basis, grid, basis).reshape(second.shape)


def tucker_cost(site: Site, ranks: Ranks) -> tuple[int, int]:
    """Parameters and MACs of the site with R_in and R_out inner channels.

    The MACs are exact where stride and padding keep the size or divide it evenly.
    """
    inner, outer = ranks
    before = site.in_channels * inner
    behind = inner * outer * math.prod(site.kernel) + outer * site.out_channels
    params = before + behind + site.bias * site.out_channels
    return params, site.positions * (before * math.prod(site.stride) + behind)


def tucker_for_error(
    site: Site, factorisation: TuckerFactorisation, error: float, step: int = 1
) -> Ranks | None:
    """The ranks of fewest MACs that lose at most the share ``error``, in [0, 1), of the output.

    Both are multiples of ``step``, or all channels. None where nothing is below the layer's cost.
    """
    if not 0 <= error < 1:
        raise OptionError(f"the lost share of a layer's energy must lie in [0, 1), got {error}")
    best, least = None, site.macs
    inputs, outputs = factorisation.lost.shape
    for inner in _steps(inputs, step):
        lost = factorisation.lost[inner - 1]
        outer = next(r for r in _steps(outputs, step) if r == outputs or lost[r - 1] <= error)
        params, macs = tucker_cost(site, (inner, outer))
        if lost[outer - 1] <= error and macs < least and params < site.params:
            best, least = (inner, outer), macs
    return best


def _steps(channels: int, step: int) -> list[int]:
    return [*range(step, channels, step), channels]


def tucker(
    model: nn.Module,
    site: Site,
    ranks: Ranks,
    moments: Moments | None = None,
    *,
    factorisation: TuckerFactorisation | None = None,
) -> tuple[nn.Module, Change]:
    """A copy of ``model`` whose site is in Tucker-2 form, and the change that was made.

    ``ranks`` are R_in, 1 .. C_in, and R_out, 1 .. C_out. ``moments`` and ``factorisation`` as for
    :func:`edgesr.surgery.lowrank`. Raises :class:`OptionError` for other ranks, and for a site
    that is no convolution with a kernel above 1 x 1.
    """
    return Tucker().apply(model, site, ranks, moments, prepared=factorisation)


@register
class Tucker(BackbonePass[Ranks, TuckerFactorisation]):
    """The pass of this file."""

    name, title, order = "tucker", "Tucker-2", 30

    def shape(self, change: Mapping[str, Any], layers: list[nn.Module]) -> list[nn.Module]:
        ranks = positive(change, "rank_in"), positive(change, "rank_out")
        geometries = [Geometry.of(layer) for layer in layers]
        for geometry in geometries:
            if geometry.transposed or not geometry.kernel:
                raise ModelError(
                    f"{change['site']!r} is no convolution that has a Tucker-2 form: "
                    "check that the weights and the network belong together"
                )
        return [TuckerConv(geometry, *ranks) for geometry in geometries]

    def entry(self, setting: Ranks) -> dict[str, int]:
        return {"rank_in": setting[0], "rank_out": setting[1]}

    def fits(self, site: Site) -> bool:
        return has_tucker(site)

    def check(self, site: Site, setting: Ranks) -> None:
        _require_form(site)
        for rank, channels in zip(setting, (site.in_channels, site.out_channels), strict=True):
            if not 1 <= rank <= channels:
                raise OptionError(
                    f"Tucker ranks of {site.name!r} must lie in 1 .. {site.in_channels} and "
                    f"1 .. {site.out_channels}, got {setting[0]} and {setting[1]}"
                )

    def cost(self, site: Site, setting: Ranks) -> tuple[int, int]:
        return tucker_cost(site, setting)

    def prepare(self, model: nn.Module, site: Site, moments: Moments | None) -> TuckerFactorisation:
        return factorise_tucker(model, site, moments)

    @torch.no_grad()
    def fill(
        self, model: nn.Module, student: nn.Module, change: Change, prepared: TuckerFactorisation
    ) -> None:
        old, new = (network.get_submodule(change["layers"][0]) for network in (model, student))
        _fill(cast(TuckerConv, new), old, (change["rank_in"], change["rank_out"]), prepared)

    def for_error(
        self, site: Site, prepared: TuckerFactorisation, error: float, step: int
    ) -> Ranks | None:
        return tucker_for_error(site, prepared, error, step)


@dataclass(frozen=True)
class _Factors:
    """``reduce`` [R_in, C_in], ``core`` [R_out, R_in, taps], ``expand`` [C_out, R_out]."""

    reduce: Tensor
    core: Tensor
    expand: Tensor

    def dense(self) -> Tensor:
        """The weights [C_out, C_in, taps] that they stand for."""
        return torch.einsum("or,rst,si->oit", self.expand, self.core, self.reduce)


def _fill(new: TuckerConv, old: nn.Module, ranks: Ranks, shared: TuckerFactorisation) -> None:
    best, moments = _plain(shared.weight, ranks), shared.moments
    if moments is not None:
        second = moments.regularised(centred=has_own_bias(old))
        baselines = [best, _aware(shared, ranks)]
        best = min(baselines, key=lambda factors: _energy(shared.weight - factors.dense(), second))
    assign(new.reduce.weight, best.reduce)
    assign(new.core.weight, best.core)
    assign(new.expand.weight, best.expand)
    bias = bias_of(old)
    if bias is not None:
        lost = (shared.weight - best.dense()).flatten(1)
        assign(new.expand.bias, bias + moments.bias_shift(lost, 1) if moments else bias)


def _energy(weight: Tensor, second: Tensor) -> float:
    flat = weight.flatten(1)
    return float(((flat @ second) * flat).sum())


def _plain(weight: Tensor, ranks: Ranks) -> _Factors:
    """The factors of weight space."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that are zero, or one rank beyond the other's
        (core, (expand, reduce)), _ = partial_tucker(
            weight.numpy(), rank=[ranks[1], ranks[0]], modes=[0, 1], init="svd"
        )
    return _balanced(*map(torch.from_numpy, (reduce.T.copy(), core, expand)))


def _aware(shared: TuckerFactorisation, ranks: Ranks) -> _Factors:
    """The best factors behind the first columns of the shared basis."""
    columns = ranks[0] * shared.weight.shape[2]
    scores, root = shared.scores[:, :columns], shared.root[:columns, :columns]
    expand = torch.linalg.eigh(scores @ scores.T)[1].flip(1)[:, : ranks[1]]
    core = torch.linalg.solve_triangular(root, expand.T @ scores, upper=False, left=False)
    reduce = shared.basis[:, : ranks[0]].T
    return _balanced(reduce, core.reshape(ranks[1], ranks[0], -1), expand)


def _balanced(reduce: Tensor, core: Tensor, expand: Tensor) -> _Factors:
    """Spread the norm evenly over the three, which train and round alike then."""
    norms = [factor.norm() for factor in (reduce, core, expand)]
    if not all(norms):
        return _Factors(reduce, core, expand)
    common = math.prod(norms) ** (1 / 3)
    return _Factors(*(f * (common / n) for f, n in zip((reduce, core, expand), norms, strict=True)))
