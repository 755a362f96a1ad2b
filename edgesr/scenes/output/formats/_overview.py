"""Half of an image: the mean of four pixels, of those that are valid."""

from __future__ import annotations

import numpy as np

from edgesr.cube.cube import invalid_values
from edgesr.cube.nodata import held_nodata


def halved(pixels: np.ndarray, nodata: float | None) -> np.ndarray:
    """Means of 2 x 2 pixels; integers to the nearest, of two the larger.

    Args:
        pixels: [B, h, w]; where ``h`` or ``w`` is odd, the last row or column has means of two.
        nodata: what stands for "no measurement"; it and what is not finite is left out of the
            means, and stands where nothing is left.

    Returns:
        [B, (h + 1) // 2, (w + 1) // 2] of the same type.
    """
    height, width = pixels.shape[1:]
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    held = held_nodata(nodata, pixels.dtype)
    if pixels.dtype.kind == "f" or held is not None:
        invalid = invalid_values(pixels, nodata)
        if invalid.any():
            return _of_valid(pixels, ~invalid, np.nan if held is None else held)
    means = _rounded(_sums(pixels), 4, pixels.dtype)
    return means if held is None else _told_apart(means, held)


def _of_valid(pixels: np.ndarray, valid: np.ndarray, nodata: float) -> np.ndarray:
    counts = _sums(valid.view(np.uint8))
    sums = _sums(np.where(valid, pixels, pixels.dtype.type(0)))
    means = _told_apart(_rounded(sums, np.maximum(counts, 1), pixels.dtype), nodata)
    means[counts == 0] = nodata
    return means


def _sums(values: np.ndarray) -> np.ndarray:
    """Sums of 2 x 2 values of [B, h, w], in a type that holds them exactly or as float64."""
    small = values.dtype.kind in "iu" and values.dtype.itemsize <= 2
    rows = np.add(values[:, 0::2], values[:, 1::2], dtype=np.int32 if small else np.float64)
    result: np.ndarray = rows[:, :, 0::2] + rows[:, :, 1::2]
    return result


def _rounded(sums: np.ndarray, counts: np.ndarray | int, dtype: np.dtype) -> np.ndarray:
    if sums.dtype.kind == "i":
        return ((2 * sums + counts) // (2 * counts)).astype(dtype)
    means = sums / counts
    return (np.floor(means + 0.5) if dtype.kind != "f" else means).astype(dtype)


def _told_apart(means: np.ndarray, nodata: float) -> np.ndarray:
    """Means that happen to be the nodata number become the next number."""
    if np.isfinite(nodata):
        means[means == nodata] = _next_to(nodata, means.dtype)
    return means


def _next_to(value: float, dtype: np.dtype) -> float:
    if dtype.kind == "f":
        return float(np.nextafter(dtype.type(value), dtype.type(0 if value else 1)))
    return value + 1 if value < np.iinfo(dtype).max else value - 1
