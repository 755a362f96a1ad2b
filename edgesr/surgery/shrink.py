"""One threshold for every layer: the cheaper of low-rank and Tucker-2 that keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from edgesr.surgery.calibrate import Moments
from edgesr.surgery.lowrank import (
    Factorisation,
    factorise,
    fill_lowrank,
    lowrank_cost,
    rank_for_error,
)
from edgesr.surgery.sites import Site
from edgesr.surgery.structure import Change, apply_changes, clone
from edgesr.surgery.tucker import (
    TuckerFactorisation,
    factorise_tucker,
    fill_tucker,
    has_tucker,
    tucker_cost,
    tucker_for_error,
)

STEP = 8
"""Inner channels are multiples of it, as vector units and tensor cores want them."""

WIDE = 64
"""Layers with fewer channels than this take any number of inner channels."""


@dataclass(frozen=True)
class Decomposition:
    """All that is needed to shrink a site by any amount; ``tucker`` only where the site can."""

    lowrank: Factorisation
    tucker: TuckerFactorisation | None


def decompose(model: nn.Module, site: Site, moments: Moments | None = None) -> Decomposition:
    """Decompose a site once, for :func:`shrink` with many thresholds."""
    tucker = factorise_tucker(model, site, moments) if has_tucker(site) else None
    return Decomposition(factorise(model, site, moments), tucker)


def shrink(
    model: nn.Module,
    site: Site,
    error: float,
    moments: Moments | None = None,
    *,
    decomposition: Decomposition | None = None,
) -> tuple[nn.Module, Change] | None:
    """A copy of ``model`` with a smaller layer at ``site``, and the change; see :func:`shrink_all`.

    None where neither form is smaller than the layer.
    """
    found = decomposition or decompose(model, site, moments)
    student, changes = shrink_all(model, [site], error, {site.name: found})
    return (student, changes[0]) if changes else None


@torch.no_grad()
def shrink_all(
    model: nn.Module,
    sites: Sequence[Site],
    error: float,
    decompositions: Mapping[str, Decomposition],
) -> tuple[nn.Module, list[Change]]:
    """A copy of ``model`` whose layers are smaller where that is possible, and what changed.

    Each site takes, of low-rank and Tucker-2, the form of fewest MACs that loses at most the share
    ``error``, in [0, 1), of the layer's output energy on the calibration data (see
    :func:`edgesr.surgery.lowrank.rank_for_error`); it stays as it is where that is smaller neither
    in MACs nor in parameters. Each layer is judged by itself, on the features of the original.
    ``decompositions`` are by site name, from :func:`decompose`.
    """
    planned = [change_for(site, error, decompositions[site.name]) for site in sites]
    changes = [change for change in planned if change is not None]
    student = apply_changes(clone(model), changes)
    for change in changes:
        found = decompositions[change["site"]]
        if change["pass"] == "tucker" and found.tucker is not None:
            fill_tucker(model, student, change, found.tucker)
        else:
            fill_lowrank(model, student, change, found.lowrank)
    return student, changes


def change_for(site: Site, error: float, decomposition: Decomposition) -> Change | None:
    """The change that :func:`shrink_all` would make to a site, without making it."""
    step = STEP if min(site.in_channels, site.out_channels) >= WIDE else 1
    rank = min(-(-rank_for_error(decomposition.lowrank, error) // step) * step, site.max_rank)
    options = [(lowrank_cost(site, rank), {"pass": "lowrank", "rank": rank})]
    if decomposition.tucker is not None:
        ranks = tucker_for_error(site, decomposition.tucker, error, step)
        if ranks is not None:
            setting = {"pass": "tucker", "rank_in": ranks[0], "rank_out": ranks[1]}
            options.append((tucker_cost(site, ranks), setting))
    smaller = [
        (macs, params, setting)
        for (params, macs), setting in options
        if macs < site.macs and params < site.params
    ]
    if not smaller:
        return None
    _, _, setting = min(smaller, key=lambda option: option[:2])
    return {"pass": setting["pass"], "site": site.name, "layers": list(site.layers), **setting}
