"""Where an image lies on the ground when no affine tells it: control points and RPCs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

RPC_FIELDS = ("OFF", "SCALE", "NUM_COEFF", "DEN_COEFF")


@dataclass(frozen=True)
class GroundControl:
    """A point of the image whose place on the ground is known.

    Attributes:
        row, col: in pixels of the image, fractions included; 0 is the edge of the first pixel.
        x, y, z: in the coordinate system of the cube.
    """

    row: float
    col: float
    x: float
    y: float
    z: float = 0.0


GroundControls = tuple[GroundControl, ...]
Rpcs = Mapping[str, str]
"""Rational polynomial coefficients as GDAL names them in its RPC domain."""


Transform = tuple[float, ...]
"""Affine (a, b, c, d, e, f): x = a col + b row + c, y = d col + e row + f."""


def moved_transform(transform: Transform | None, row: int, col: int) -> Transform | None:
    """Of the image whose first pixel is the one at ``row`` and ``col``."""
    if transform is None:
        return None
    a, b, c, d, e, f = transform
    return (a, b, c + a * col + b * row, d, e, f + d * col + e * row)


def magnified_transform(transform: Transform | None, scale: int) -> Transform | None:
    """Of the image of ``scale`` times as many rows and columns; the upper left corner stays."""
    if transform is None:
        return None
    a, b, c, d, e, f = transform
    return (a / scale, b / scale, c, d / scale, e / scale, f)


def moved(
    gcps: GroundControls, rpcs: Rpcs | None, row: int, col: int
) -> tuple[GroundControls, Rpcs | None]:
    """Both, for the image whose first pixel is the one at ``row`` and ``col``."""
    points = tuple(replace(point, row=point.row - row, col=point.col - col) for point in gcps)
    return points, _changed(rpcs, {"LINE_OFF": (1.0, -row), "SAMP_OFF": (1.0, -col)})


def magnified(
    gcps: GroundControls, rpcs: Rpcs | None, scale: int
) -> tuple[GroundControls, Rpcs | None]:
    """Both, for the image of ``scale`` times as many rows and columns.

    Offsets of RPCs are counted from the centre of the first pixel.
    """
    points = tuple(replace(point, row=point.row * scale, col=point.col * scale) for point in gcps)
    offset, size = (float(scale), (scale - 1) / 2), (float(scale), 0.0)
    lines = {"LINE_OFF": offset, "SAMP_OFF": offset, "LINE_SCALE": size, "SAMP_SCALE": size}
    return points, _changed(rpcs, lines)


def exchanged(gcps: GroundControls, rpcs: Rpcs | None) -> tuple[GroundControls, Rpcs | None]:
    """Both, for the image whose rows are the columns of this one."""
    points = tuple(replace(point, row=point.col, col=point.row) for point in gcps)
    if rpcs is None:
        return points, None
    pairs = [(f"LINE_{field}", f"SAMP_{field}") for field in RPC_FIELDS]
    swap = {**dict(pairs), **{samp: line for line, samp in pairs}}
    return points, {key: rpcs[swap.get(key, key)] for key in rpcs}


def _changed(rpcs: Rpcs | None, lines: Mapping[str, tuple[float, float]]) -> Rpcs | None:
    """RPCs whose numbers of these names are multiplied by, and added, the two of each."""
    if rpcs is None:
        return None
    changes = {
        key: repr(float(rpcs[key]) * factor + summand)
        for key, (factor, summand) in lines.items()
        if key in rpcs
    }
    return {**rpcs, **changes}
