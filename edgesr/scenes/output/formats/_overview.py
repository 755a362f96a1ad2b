"""Half of an image: the mean of four pixels, of those that are valid."""

from __future__ import annotations

import numpy as np

from edgesr.cube.cube import invalid_values
from edgesr.cube.nodata import held_nodata


def halved(pixels: np.ndarray, nodata: float | None) -> np.ndarray:
    """Means of 2 x 2 pixels, float rounded to the type, integers to the nearest.

    Args:
        pixels: [B, h, w]; where ``h`` or ``w`` is odd, the last row or column has means of two.
        nodata: what stands for "no measurement"; it and what is not finite is left out of the
            means, and stands where nothing is left.

    Returns:
        [B, (h + 1) // 2, (w + 1) // 2] of the same type.
    """
    height, width = pixels.shape[1:]
    even = np.pad(pixels, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    exact = np.float32 if pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2 else np.float64
    held = held_nodata(nodata, pixels.dtype)
    if pixels.dtype.kind != "f" and held is None:
        return _as(_sums(even, exact) / 4, pixels.dtype)
    valid = ~invalid_values(even, nodata)
    counts = _sums(valid, np.uint8)
    sums = _sums(np.where(valid, even, even.dtype.type(0)), exact)
    means = _as(sums / np.maximum(counts, 1), pixels.dtype)
    if held is None:
        held = np.nan
    elif np.isfinite(held):  # a mean that happens to be the nodata number
        means[(counts > 0) & (means == held)] = _next_to(held, pixels.dtype)
    means[counts == 0] = held
    return means


def _sums(values: np.ndarray, dtype: type) -> np.ndarray:
    """Sums of 2 x 2 values of [B, h, w]."""
    corners = (values[:, row::2, col::2] for row in (0, 1) for col in (0, 1))
    result: np.ndarray = next(corners).astype(dtype)
    for corner in corners:
        result += corner
    return result


def _as(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return (np.rint(values) if dtype.kind != "f" else values).astype(dtype)


def _next_to(value: float, dtype: np.dtype) -> float:
    if dtype.kind == "f":
        return float(np.nextafter(dtype.type(value), dtype.type(0 if value else 1)))
    return value + 1 if value < np.iinfo(dtype).max else value - 1
