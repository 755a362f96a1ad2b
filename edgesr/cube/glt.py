"""Geographic look-up tables: where on the ground the pixels of a sensor's image lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgesr.cube.cube import Window
from edgesr.cube.pixels import Pixels
from edgesr.errors import DataError

REACH = 2
"""Entries around one, either way, that tell how the sensor's image lies on the ground there."""

_ON_AN_EDGE = 1e-6  # of a pixel: whether just before it or behind it is chance


@dataclass(frozen=True, eq=False)
class Glt:
    """A grid on the ground, and the pixel of the sensor's image for each of its pixels.

    Attributes:
        rows, cols: of the sensor's image, whole numbers [H', W', 1] from 1; 0 is none, and a
            negative one was taken from the nearest.
        crs: coordinate reference system of the grid as WKT, or None.
        transform: affine of the grid, as of a :class:`Cube`.
    """

    rows: Pixels
    cols: Pixels
    crs: str | None
    transform: tuple[float, ...] | None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the grid."""
        return self.rows.shape[:2]

    def close(self) -> None:
        """Close the file."""
        self.rows.close()
        self.cols.close()


def ortho_window(
    glt: Glt, window: Window, image: tuple[int, int], scale: int = 1
) -> tuple[Window | None, np.ndarray, np.ndarray]:
    """What a window of the grid shows of the sensor's image, both ``scale`` times as large.

    A pixel of the larger grid lies within one of the table, which names a pixel of the image; where
    within that it lies is told by the plane through the entries up to :data:`REACH` pixels around,
    as the image is turned, mirrored or stretched against the ground.

    Args:
        glt: the table.
        window: of the grid, in its larger pixels.
        image: height and width of the sensor's image, in its own pixels.
        scale: factor of grid and image to those of the table.

    Returns:
        the window of the sensor's image that holds all its pixels, or None where it shows none;
        and rows and columns in that window, int64 [h, w], -1 where there is no pixel.

    Raises:
        DataError: the table names a pixel that the image has not.
    """
    first = window.row // scale, window.col // scale
    last = (
        (window.row + window.height - 1) // scale,
        (window.col + window.width - 1) // scale,
    )
    reach = REACH if scale > 1 else 0
    starts = [max(0, start - reach) for start in first]
    ends = [min(length, end + 1 + reach) for length, end in zip(glt.shape, last, strict=True)]
    around = Window(starts[0], starts[1], ends[0] - starts[0], ends[1] - starts[1])
    named = np.stack(
        [np.abs(part.read(around)[:, :, 0].astype(np.int64)) - 1 for part in (glt.rows, glt.cols)]
    )
    known = np.logical_and(*(named >= 0))
    if (named[0][known] >= image[0]).any() or (named[1][known] >= image[1]).any():
        raise DataError(
            f"the look-up table names row {named[0].max() + 1}, column {named[1].max() + 1} of an"
            f" image of {image[0]} x {image[1]} pixels; it belongs to another image"
        )
    own = np.s_[
        first[0] - starts[0] : last[0] + 1 - starts[0],
        first[1] - starts[1] : last[1] + 1 - starts[1],
    ]
    if scale == 1:
        found, missing = named[(slice(None), *own)], ~known[own]
    else:
        found, missing = _magnified(named, known, own, window, image, scale)
    rows, cols = np.where(missing, -1, found)
    if missing.all():
        return None, rows, cols
    top, left = int(rows[~missing].min()), int(cols[~missing].min())
    height, width = int(rows.max()) - top + 1, int(cols.max()) - left + 1
    rows[~missing] -= top
    cols[~missing] -= left
    return Window(top, left, height, width), rows, cols


def _magnified(
    named: np.ndarray,
    known: np.ndarray,
    own: tuple[slice, slice],
    window: Window,
    image: tuple[int, int],
    scale: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns in the larger image, int64 [2, h, w], and where there are none."""
    offsets = window.row % scale, window.col % scale
    cut = np.s_[offsets[0] : offsets[0] + window.height, offsets[1] : offsets[1] + window.width]

    def large(values: np.ndarray) -> np.ndarray:
        return values[own].repeat(scale, axis=0).repeat(scale, axis=1)[cut]

    down, right = (
        (np.arange(start, start + length) % scale + 0.5) / scale - 0.5
        for start, length in ((window.row, window.height), (window.col, window.width))
    )
    found = []
    for numbers, length, plane in zip(named, image, _planes(named, known), strict=True):
        mean, by_row, by_col = (large(part) for part in plane)
        aside = (mean + by_row * down[:, None] + by_col * right).clip(-1, 1)
        places = np.floor((large(numbers) + aside + 0.5) * scale + _ON_AN_EDGE).astype(np.int64)
        found.append(places.clip(0, length * scale - 1))
    return np.stack(found), ~large(known)


def _planes(named: np.ndarray, known: np.ndarray) -> np.ndarray:
    """For each entry the plane by least squares through those around it, less its own number.

    Float [2, 3, H, W]: of rows and of columns the value at its centre, and what a row and a column
    of the grid add.
    """
    side = 2 * REACH + 1
    offsets = np.arange(side) - REACH
    terms = np.stack([np.ones((side, side)), *np.meshgrid(offsets, offsets, indexing="ij")])

    def around(values: np.ndarray) -> np.ndarray:
        padded = np.pad(values, REACH)
        return np.lib.stride_tricks.sliding_window_view(padded, (side, side))

    weights = around(known.astype(float))
    matrix = np.einsum("hwij,aij,bij->hwab", weights, terms, terms)
    matrix += np.diag([0.0, 1e-8, 1e-8])  # entries in one line say nothing across it
    matrix[~known] = np.eye(3)
    planes = []
    for numbers in named:
        aside = (around(numbers) - numbers[:, :, None, None]) * weights
        right = np.einsum("hwij,aij->hwa", aside, terms)
        planes.append(np.linalg.solve(matrix, right[..., None])[..., 0].transpose(2, 0, 1))
    return np.stack(planes)
