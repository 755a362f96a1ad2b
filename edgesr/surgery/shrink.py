"""One threshold for every layer: of all passes on the backbone, the cheapest form that keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from edgesr.surgery.calibrate import Moments
from edgesr.surgery.passes import PASSES, BackbonePass, passes_of
from edgesr.surgery.sites import Site
from edgesr.surgery.structure import Change, apply_changes, clone

STEP = 8
"""Inner channels are multiples of it, as vector units and tensor cores want them."""

WIDE = 64
"""Layers with fewer channels than this take any number of inner channels."""


Decomposition = Mapping[str, Any]
"""All that is needed to shrink a site by any amount: what each pass that has a form for the site
has prepared, by the pass's name."""


def decompose(model: nn.Module, site: Site, moments: Moments | None = None) -> Decomposition:
    """Decompose a site once, for :func:`shrink` with many thresholds."""
    return decompose_all(model, [site], {site.name: moments} if moments else None)[site.name]


def decompose_all(
    model: nn.Module, sites: Sequence[Site], moments: Mapping[str, Moments] | None = None
) -> dict[str, Decomposition]:
    """Decompose sites once, for :func:`shrink_all` with many thresholds; by site name."""
    forms = passes_of(BackbonePass)  # type: ignore[type-abstract]
    return {
        site.name: {
            name: form.prepare(model, site, moments[site.name] if moments else None)
            for name, form in forms.items()
            if form.fits(site)
        }
        for site in sites
    }


def _form(name: str) -> BackbonePass[Any, Any]:
    return cast(BackbonePass[Any, Any], PASSES[name])


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

    Each site takes, of the passes on the backbone, the form of fewest MACs that loses at most the
    share ``error``, in [0, 1), of the layer's output energy on the calibration data (see
    :func:`edgesr.surgery.rank_for_error`); it stays as it is where that is smaller neither in MACs
    nor in parameters. Each layer is judged by itself, on the features of the original.
    ``decompositions`` are by site name, from :func:`decompose_all`.
    """
    planned = [change_for(site, error, decompositions[site.name]) for site in sites]
    changes = [change for change in planned if change is not None]
    student = apply_changes(clone(model), changes)
    for change in changes:
        name = change["pass"]
        _form(name).fill(model, student, change, decompositions[change["site"]][name])
    return student, changes


def change_for(site: Site, error: float, decomposition: Decomposition) -> Change | None:
    """The change that :func:`shrink_all` would make to a site, without making it."""
    step = STEP if min(site.in_channels, site.out_channels) >= WIDE else 1
    options = []
    for name, prepared in decomposition.items():
        found = _form(name)
        setting = found.for_error(site, prepared, error, step)
        if setting is not None:
            params, macs = found.cost(site, setting)
            if macs < site.macs and params < site.params:
                options.append((macs, params, found.change(site, setting)))
    return min(options, key=lambda option: option[:2])[2] if options else None
