"""Images of native numbers that a file is compared on: plausible ones, and ones that hurt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from edgesr_export.native.io import NativeIO
from edgesr_export.probes import probes

BEYOND = 0.1
"""Share of a band's range by which images leave it on either side."""


def native_probes(
    io: NativeIO, shape: Sequence[int | str], seed: int = 0
) -> Iterator[tuple[str, np.ndarray]]:
    """Named images [N, sensor_bands, h, w] of ``io.input_dtype``.

    Those of :func:`edgesr_export.probes.probes`, a little beyond the range of every band; the least
    and the largest number; where pixels can be nodata, one band of some of them, and everywhere.

    Args:
        io: what the numbers mean.
        shape: of the network's input, float, with a name or 0 where an axis is free.
        seed: of the noise.
    """
    rng = np.random.default_rng(seed)
    for name, image in probes(shape, seed):
        base = _native(image, io, rng)
        yield name, base
        if name == "scene":
            scene = base
    for name, number in zip(("least", "largest"), _bounds(io), strict=True):
        yield name, np.full_like(scene, number)
    if io.masked:
        yield "nodata in one band", _with_holes(scene, io, rng)
        yield "nodata everywhere", np.full_like(scene, _missing(io))


def _native(image: np.ndarray, io: NativeIO, rng: np.random.Generator) -> np.ndarray:
    """Values of [0, 1] of the network's bands as native numbers; the other bands are noise."""
    lower, span = np.array(io.lower), np.subtract(io.upper, io.lower)
    count, _, height, width = image.shape
    least, largest = float(lower.min()), float(lower.max() + span.max())
    whole = rng.uniform(least, largest, (count, io.sensor_bands, height, width))
    values = image * (1 + 2 * BEYOND) - BEYOND
    bands = slice(None) if io.selection is None else list(io.selection)
    whole[:, bands] = values * span.reshape(-1, 1, 1) + lower.reshape(-1, 1, 1)
    if io.input_dtype != "float32":
        whole = np.clip(np.rint(whole), *_bounds(io))
    return whole.astype(io.input_dtype)


def _bounds(io: NativeIO) -> tuple[float, float]:
    """Least and largest number of the input's type, or far outside all bands."""
    if io.input_dtype == "float32":
        return 2 * min(io.lower) - max(io.upper), 2 * max(io.upper) - min(io.lower)
    kind = np.iinfo(io.input_dtype)
    return kind.min, kind.max


def _missing(io: NativeIO) -> float:
    return math.nan if io.nodata is None else io.nodata


def _with_holes(scene: np.ndarray, io: NativeIO, rng: np.random.Generator) -> np.ndarray:
    """A tenth of the pixels without one of the bands that the network reads."""
    image = scene.copy()
    read = np.arange(io.sensor_bands) if io.selection is None else np.array(io.selection)
    count, _, height, width = image.shape
    for n, y, x in np.argwhere(rng.random((count, height, width)) < 0.1):
        image[n, rng.choice(read), y, x] = _missing(io)
    if io.input_dtype == "float32":
        image[0, read[0], 0, 0], image[0, read[-1], -1, -1] = np.inf, np.nan
    return image
