"""Bands that a network does not take, interpolated: the same for every tile that shows a pixel."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from edgesr.cube import Window
from edgesr.cube.cube import invalid_values
from edgesr.cube.opened import OpenCube

A = -0.75
"""Of the kernel, as :func:`edgesr.cube.degrade.bicubic_upsample` has it."""

_REACH = 2  # LR pixels that the kernel looks beyond a tile


class Bicubic:
    """Bands of a scene, ``scale`` times as large.

    A pixel in reach of whose kernel a band is nodata gets the number of its own LR pixel there.

    Args:
        cube: the scene.
        index: its bands.
        scale: r.
        dtype: of the result.
    """

    def __init__(self, cube: OpenCube, index: list[int], scale: int, dtype: np.dtype) -> None:
        self._cube, self._index, self._scale, self._dtype = cube, index, scale, dtype

    def __call__(self, window: Window) -> np.ndarray:
        """[B, h r, w r] of a window of the LR scene."""
        height, width = self._cube.shape[:2]
        top, left = max(0, window.row - _REACH), max(0, window.col - _REACH)
        bottom = min(height, window.row + window.height + _REACH)
        right = min(width, window.col + window.width + _REACH)
        seen = Window(top, left, bottom - top, right - left)
        stored = self._cube.read(seen, self._index).transpose(2, 0, 1)
        invalid = invalid_values(stored, self._cube.nodata)
        values = np.where(invalid, 0, stored).astype(np.float64)
        rows = _weights(window.row, window.height, top, seen.height, height, self._scale)
        cols = _weights(window.col, window.width, left, seen.width, width, self._scale)
        result = rows @ values @ cols.T
        if self._dtype.kind != "f":
            limits = np.iinfo(self._dtype)
            result = np.clip(np.rint(result), limits.min, limits.max)
        result = result.astype(self._dtype)
        if invalid.any():
            near = (rows != 0) @ invalid.astype(np.float32) @ (cols != 0).T > 0
            own = stored[
                :,
                window.row - top : window.row - top + window.height,
                window.col - left : window.col - left + window.width,
            ]
            own = own.repeat(self._scale, axis=1).repeat(self._scale, axis=2)
            result[near] = own[near].astype(self._dtype)
        return result


@lru_cache(maxsize=64)
def _weights(
    start: int, length: int, seen: int, seen_length: int, whole: int, scale: int
) -> np.ndarray:
    """[length r, seen_length]: HR pixels of a stretch from the LR pixels that are seen."""
    places = (np.arange(length * scale) + 0.5) / scale - 0.5 + start
    first = np.floor(places).astype(np.int64)
    weights = np.zeros((length * scale, seen_length))
    for tap in range(-1, 3):
        distance = np.abs(places - (first + tap))
        near = ((A + 2) * distance - (A + 3)) * distance**2 + 1
        far = A * (((distance - 5) * distance + 8) * distance - 4)
        column = np.clip(first + tap, 0, whole - 1) - seen
        np.add.at(weights, (np.arange(len(places)), column), np.where(distance <= 1, near, far))
    return weights
