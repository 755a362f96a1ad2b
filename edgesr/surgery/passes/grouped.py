"""The paper's replacement: the upsampling convolution with g groups.

Output group i (the i-th run of C_out/g channels) reads input group i, so the order of output
channels, on which the pixel shuffle relies, stays. The weights start as the block-diagonal slice
of the original or, with calibration moments, as each group's least-squares fit to the original's
output from that group's inputs, bias included.

Source: "Rethinking the Upsampling Layer in Hyperspectral Image Super Resolution".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from edgesr.errors import ModelError, OptionError
from edgesr.surgery.calibrate import Moments
from edgesr.surgery.layers import (
    assign,
    bias_of,
    dense_weight,
    diagonal_weight,
    has_own_bias,
    phases,
    to_windows,
)
from edgesr.surgery.least_squares import fit_groups
from edgesr.surgery.passes._base import Step, UpsamplerPass
from edgesr.surgery.registry import register
from edgesr.surgery.sites import Site
from edgesr.surgery.structure import Change, Geometry, positive


def admissible_groups(site: Site) -> list[int]:
    """Group counts, ascending, that make the site smaller and keep its channels whole.

    They divide the channels and, for a sub-pixel site, r*r; elsewhere they are 2, 4, 8 or 16.
    A linear layer has none.
    """
    if site.kind == "linear":
        return []
    per_layer = site.out_channels // len(site.layers)
    common = math.gcd(site.in_channels, per_layer)
    if site.kind == "subpixel":
        common = math.gcd(common, site.scale**2)
        counts = list(range(2, common + 1))
    else:
        counts = [2, 4, 8, 16]
    return [g for g in counts if common % g == 0 and g > site.groups and g % site.groups == 0]


def groups_for_rank(site: Site, rank: int) -> int:
    """Largest admissible group count whose bound on each group's rank still covers ``rank``.

    The bound is cols / g: C_in*k*k / g for a convolution. 1 when no admissible count covers it.

    The paper's Pavia upsampler (128 channels, 3 x 3, rank 130) gets 8, since 1152 / 8 = 144.
    """
    return max((g for g in admissible_groups(site) if site.cols / g >= rank), default=1)


def grouped_cost(site: Site, groups: int) -> tuple[int, int]:
    """Parameters and MACs of the site once it has ``groups`` groups."""
    weights = site.in_channels * site.out_channels * math.prod(site.kernel) // groups
    return weights + site.bias * site.out_channels, weights * site.positions


def grouped(
    model: nn.Module, site: Site, groups: int, moments: Moments | None = None
) -> tuple[nn.Module, Change]:
    """A copy of ``model`` whose site has ``groups`` groups, and the change that was made.

    ``moments`` are the site's, from :func:`edgesr.surgery.calibrate.moments`; without them the
    weights are the original's slice. Raises :class:`OptionError` for inadmissible groups.
    """
    return Grouped().apply(model, site, groups, moments)


@register
class Grouped(UpsamplerPass[Moments | None]):
    """The pass of this file."""

    name, title, letter, setting = "grouped", "grouped", "g", "groups"
    order, colours, marker = 20, ("#c9801f", "#e5a14d"), "square"

    def shape(self, change: Mapping[str, Any], layers: list[nn.Module]) -> list[nn.Module]:
        groups = positive(change, "groups")
        geometries = [Geometry.of(layer) for layer in layers]
        for geometry in geometries:
            if geometry.in_channels % groups or geometry.out_channels % groups:
                raise ModelError(
                    f"{groups} groups do not divide the {geometry.in_channels} input and "
                    f"{geometry.out_channels} output channels of {change['site']!r}: "
                    "choose a common divisor"
                )
        return [g.build(g.in_channels, g.out_channels, groups, g.bias) for g in geometries]

    def check(self, site: Site, setting: int) -> None:
        admissible = admissible_groups(site)
        if setting not in admissible:
            advice = f"choose from {admissible}" if admissible else "use a low-rank pass instead"
            raise OptionError(f"{site.name!r} cannot have {setting} groups: {advice}")

    def cost(self, site: Site, setting: int) -> tuple[int, int]:
        return grouped_cost(site, setting)

    def prepare(self, model: nn.Module, site: Site, moments: Moments | None) -> Moments | None:
        return moments

    @torch.no_grad()
    def fill(
        self, model: nn.Module, student: nn.Module, change: Change, prepared: Moments | None
    ) -> None:
        for path in change["layers"]:
            old, new = model.get_submodule(path), student.get_submodule(path)
            _fill(new, old, change["groups"], prepared)

    def admissible(self, site: Site) -> Sequence[int]:
        return admissible_groups(site)

    def steps(self, sites: Sequence[Site], starts: Mapping[str, int]) -> Iterator[Step]:
        """Group counts from few to many; a site has the most of its own that are not more."""
        choices = {site.name: admissible_groups(site) for site in sites}
        for groups in sorted({g for admissible in choices.values() for g in admissible}):
            fitting = {
                name: [g for g in admissible if g <= groups] for name, admissible in choices.items()
            }
            yield groups, {name: max(counts) for name, counts in fitting.items() if counts}

    def at_target(self, sites: Sequence[Site], starts: Mapping[str, int]) -> int:
        return min(groups_for_rank(site, starts[site.name]) for site in sites)

    def groups(self, site: Site, setting: int) -> dict[str, int]:
        return {f"{layer}.weight": setting for layer in site.layers}


def _fill(new: nn.Module, old: nn.Module, groups: int, moments: Moments | None) -> None:
    geometry, bias = Geometry.of(old), bias_of(old)
    matrix = to_windows(dense_weight(old), geometry)
    second = moments.regularised(centred=has_own_bias(old)) if moments else None
    wanted = matrix.reshape(phases(geometry), geometry.out_channels, -1)
    fitted = fit_groups(wanted, geometry, groups, second).reshape(matrix.shape)
    assign(new.weight, diagonal_weight(fitted, geometry, groups))
    if bias is not None:
        lost = matrix - fitted
        assign(new.bias, bias + moments.bias_shift(lost, phases(geometry)) if moments else bias)
