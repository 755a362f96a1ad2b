"""Arrays for answers that are written again once nobody holds them.

A fresh array of some tens of MB costs the kernel a page fault every 4 kB, about a tenth of the time
that a network takes to fill it. CPython counts who holds an array, views and slices of it included,
since all of them refer to the array that owns the memory.
"""

from __future__ import annotations

import sys

import numpy as np

KEPT = 2
"""One to be read by the caller while the next is written."""


class Buffers:
    """Hands out arrays of one shape and type at a time."""

    def __init__(self) -> None:
        self._kept: list[np.ndarray] = []
        self._unused = _holders([np.empty(1)], 0)

    def take(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array with any content that nobody else holds."""
        if any(array.shape != shape or array.dtype != dtype for array in self._kept):
            self._kept.clear()
        for index in range(len(self._kept)):
            if _holders(self._kept, index) == self._unused:
                return self._kept[index]
        array = np.empty(shape, dtype)
        if len(self._kept) < KEPT:
            self._kept.append(array)
        return array


def _holders(arrays: list[np.ndarray], index: int) -> int:
    return sys.getrefcount(arrays[index])
