"""Geographic look-up tables: where on the ground the pixels of a sensor's image lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgesr.cube.cube import Window
from edgesr.cube.pixels import Pixels


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


def ortho_window(glt: Glt, window: Window) -> tuple[Window | None, np.ndarray, np.ndarray]:
    """What a window of the grid shows of the sensor's image.

    Returns:
        the window of the sensor's image that holds all its pixels, or None where it shows none;
        and rows and columns in that window, int64 [h, w], -1 where there is no pixel.
    """
    rows, cols = (
        np.abs(part.read(window)[:, :, 0].astype(np.int64)) - 1 for part in (glt.rows, glt.cols)
    )
    missing = (rows < 0) | (cols < 0)
    rows[missing] = cols[missing] = -1
    if missing.all():
        return None, rows, cols
    top, left = int(rows[~missing].min()), int(cols[~missing].min())
    height, width = int(rows.max()) - top + 1, int(cols.max()) - left + 1
    rows[~missing] -= top
    cols[~missing] -= left
    return Window(top, left, height, width), rows, cols
