"""The paper's replacement: the upsampling convolution with g groups.

Output group i (the i-th run of C_out/g channels) reads input group i, so the order of output
channels, on which the pixel shuffle relies, stays. The weights start as the block-diagonal slice
of the original or, with calibration moments, as each group's least-squares fit to the original's
output from that group's inputs, bias included.

Source: "Rethinking the Upsampling Layer in Hyperspectral Image Super Resolution".
"""

from __future__ import annotations

import math

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
from edgesr.surgery.structure import Change, Geometry, apply_changes, clone


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


@torch.no_grad()
def grouped(
    model: nn.Module, site: Site, groups: int, moments: Moments | None = None
) -> tuple[nn.Module, Change]:
    """A copy of ``model`` whose site has ``groups`` groups, and the change that was made.

    ``moments`` are the site's, from :func:`edgesr.surgery.calibrate.moments`; without them the
    weights are the original's slice. Raises :class:`OptionError` for inadmissible groups.
    """
    admissible = admissible_groups(site)
    if groups not in admissible:
        advice = f"choose from {admissible}" if admissible else "use a low-rank pass instead"
        raise OptionError(f"{site.name!r} cannot have {groups} groups: {advice}")
    change: Change = {
        "pass": "grouped",
        "site": site.name,
        "layers": list(site.layers),
        "groups": groups,
    }
    student = apply_changes(clone(model), [change])
    for path in site.layers:
        _fill(student.get_submodule(path), model.get_submodule(path), groups, moments)
    return student, change


def _fill(new: nn.Module, old: nn.Module, groups: int, moments: Moments | None) -> None:
    geometry, bias = Geometry.of(old), bias_of(old)
    matrix = to_windows(dense_weight(old), geometry)
    second = moments.regularised(centred=has_own_bias(old)) if moments else None
    fitted = _block_fit(matrix, geometry, groups, second)
    blocks = from_windows(fitted, geometry).chunk(groups)
    width = blocks[0].shape[1] // groups
    diagonal = [block[:, i * width : (i + 1) * width] for i, block in enumerate(blocks)]
    assign(new.weight, torch.cat(diagonal))
    if bias is not None:
        lost = matrix - fitted
        assign(new.bias, bias + moments.bias_shift(lost, phases(geometry)) if moments else bias)


def _block_fit(matrix: Tensor, geometry: Geometry, groups: int, second: Tensor | None) -> Tensor:
    """Best block-diagonal stand-in for ``matrix`` [phases * C_out, C_in * taps], as dense."""
    windows = math.prod(taps(geometry))
    target = matrix.reshape(phases(geometry), geometry.out_channels, -1)
    fitted = torch.zeros_like(target)
    channel_group = torch.arange(geometry.in_channels) * groups // geometry.in_channels
    identity = torch.eye(geometry.in_channels * windows, dtype=matrix.dtype)
    height = geometry.out_channels // groups
    for group in range(groups):
        rows = slice(group * height, (group + 1) * height)
        for phase, used in tap_patterns(geometry):
            columns = torch.outer(channel_group == group, used).flatten()
            wanted = target[phase, rows]
            solution = fit(wanted.flatten(0, 1), identity[columns], second)
            embedded = solution @ identity[columns]
            fitted[phase, rows] = embedded.reshape(wanted.shape)
    return fitted.reshape(matrix.shape)
