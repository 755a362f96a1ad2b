"""The training pixels of a cube, and what is fitted on them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edgesr.cube.cube import Cube, Window
from edgesr.cube.normalise import Normalisation

FIT_VALUES = 1 << 25  # at most so many values are sampled: 256 MB in float64


def covered(windows: Iterable[Window], extent: Window) -> np.ndarray:
    """Bool [H, W] of ``extent``: True where at least one window lies."""
    result = np.zeros((extent.height, extent.width), dtype=bool)
    for window in windows:
        result[window.slices] = True
    return result


def sampled_pixels(
    cube: Cube, pixels: np.ndarray, bands: np.ndarray | None = None, limit: int = FIT_VALUES
) -> np.ndarray:
    """Spectra [N, B] of the True ``pixels`` [H, W], in row order, native numbers.

    When they hold more than ``limit`` values, every k-th pixel is taken, with the smallest k that
    stays below: the same pixels in every run. Only these pixels are read.
    """
    count = cube.bands if bands is None else len(bands)
    positions = np.flatnonzero(pixels)
    step = max(1, -(-positions.size * count // limit))
    rows, cols = np.unravel_index(positions[::step], pixels.shape)
    spectra = cube.data[rows, cols]
    return spectra if bands is None else spectra[:, bands]


def extremes(cube: Cube, pixels: np.ndarray) -> np.ndarray:
    """Smallest and largest value of every band over the True ``pixels``: [2, B], exact.

    Reads blocks of rows, so a memory-mapped cube is not loaded whole.
    """
    found: list[np.ndarray] = []
    for rows in cube.row_blocks():
        if pixels[rows].any():
            spectra = cube.data[rows][pixels[rows]]
            found += [spectra.min(axis=0), spectra.max(axis=0)]
    return np.stack([np.min(found, axis=0), np.max(found, axis=0)])


def fit_normalisation(cube: Cube, pixels: np.ndarray, mode: str) -> Normalisation:
    """Fit to the True ``pixels`` [H, W]: the range is exact for ``scene``, sampled for ``band``."""
    spectra = extremes(cube, pixels) if mode == "scene" else sampled_pixels(cube, pixels)
    return Normalisation.fit(spectra, mode)
