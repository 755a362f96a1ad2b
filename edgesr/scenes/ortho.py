"""A super-resolved image on the ground, block by block, by its look-up table."""

from __future__ import annotations

import numpy as np

from edgesr.cube import Window
from edgesr.cube.glt import Glt, ortho_window
from edgesr.cube.pixels import Pixels

SENSOR = "sensor.npy"
"""The image as the sensor saw it, kept until all of it is on the ground."""

_AT_ONCE = 1 << 26  # bytes of it that are read together


def on_the_ground(pixels: Pixels, glt: Glt, window: Window, scale: int, empty: float) -> np.ndarray:
    """Pixels [h, w, B] of a window of the grid on the ground, ``scale`` times as large.

    Args:
        pixels: of the sensor's image, ``scale`` times as large.
        glt: the look-up table of the original.
        window: of the larger grid.
        scale: r.
        empty: what stands where the table has nothing.

    Raises:
        DataError: the table does not belong to the image.
    """
    height, width, bands = pixels.shape
    source, rows, cols = ortho_window(glt, window, (height // scale, width // scale), scale)
    block = np.full((window.height, window.width, bands), empty, pixels.dtype)
    if source is None:
        return block
    seen = rows >= 0
    step = max(1, _AT_ONCE // (source.pixels * pixels.dtype.itemsize))
    for first in range(0, bands, step):
        chosen = range(first, min(first + step, bands))
        values = pixels.read(source, chosen)
        block[seen, chosen.start : chosen.stop] = values[rows[seen], cols[seen]]
    return block
