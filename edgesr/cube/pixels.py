"""Where the pixels of an open cube come from: read by windows, from any thread."""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from edgesr.cube.cube import Window
from edgesr.errors import DataError


class Pixels(ABC):
    """Values [H, W, B] that are read when they are asked for, from any thread.

    Attributes:
        shape: height, width, bands.
        dtype: of the stored values.
        chunks: rows and columns that are stored together; reads along them are the fastest.
        resident: whether all of them cost no further memory, as they are held or memory-mapped.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    chunks: tuple[int, int]
    resident: bool = False

    @abstractmethod
    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        """Values [h, w, b] of a window, of all or some bands, in a new array."""

    def whole(self) -> np.ndarray:
        """All values [H, W, B]; of resident ones a view."""
        return self.read(Window(0, 0, *self.shape[:2]))

    def close(self) -> None:  # noqa: B027  most hold nothing open
        """Close what was opened for them; more than once does no harm."""


class ArrayPixels(Pixels):
    """Pixels of an array [H, W, B] that is in memory, or memory-mapped."""

    resident = True

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        height, width, bands = array.shape
        self.shape, self.dtype, self.chunks = (height, width, bands), array.dtype, (1, width)
        self._file = _mapped(array)

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        found = self.array[window.slices]
        values = np.array(found if bands is None else found[:, :, list(bands)])
        if self._file is not None:  # the system's own pages again, and none of this process's
            self._file.madvise(mmap.MADV_DONTNEED)
        return values

    def whole(self) -> np.ndarray:
        return self.array


def _mapped(array: np.ndarray) -> mmap.mmap | None:
    """The mapped file that an array lies in, where its pages can be let go."""
    base: object = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    return base if hasattr(mmap, "MADV_DONTNEED") else None


class SelectedPixels(Pixels):
    """Bands of several sources of one size as one: chosen, joined and ordered.

    Args:
        parts: sources of equal height and width; their bands are numbered one after the other.
        order: of these numbers, those that are bands of the result, one after the other.
    """

    def __init__(self, parts: Sequence[Pixels], order: Sequence[int] | np.ndarray) -> None:
        self._parts = tuple(parts)
        sizes = {part.shape[:2] for part in parts}
        if len(sizes) != 1:
            raise DataError(
                "its parts differ in size ("
                + ", ".join(f"{height} x {width}" for height, width in sorted(sizes))
                + "); take the product again"
            )
        [(height, width)] = sizes
        counts = [part.shape[2] for part in parts]
        part_of = np.repeat(np.arange(len(counts)), counts)
        band_in = np.concatenate([np.arange(count) for count in counts])
        chosen = np.asarray(order, dtype=np.int64)
        self._part_of, self._band_in = part_of[chosen], band_in[chosen]
        self.shape = (height, width, chosen.size)
        self.dtype = np.result_type(*(part.dtype for part in parts))
        self.chunks = parts[0].chunks

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        chosen = np.arange(self.shape[2]) if bands is None else np.asarray(bands)
        result = np.empty((window.height, window.width, chosen.size), self.dtype)
        for index, part in enumerate(self._parts):
            here = np.flatnonzero(self._part_of[chosen] == index)
            if here.size:
                result[:, :, here] = part.read(window, self._band_in[chosen[here]].tolist())
        return result

    def close(self) -> None:
        for part in self._parts:
            part.close()


def in_ranges(
    read: Callable[[slice], np.ndarray], bands: Sequence[int] | None, count: int
) -> np.ndarray:
    """Values [h, w, b] of any bands, from what reads a range of ``count`` bands at a time."""
    if bands is None:
        return read(slice(0, count))
    chosen = np.asarray(bands)
    low, high = int(chosen.min()), int(chosen.max()) + 1
    if high - low <= 2 * chosen.size:
        return read(slice(low, high))[:, :, chosen - low]
    runs = np.split(chosen, np.flatnonzero(np.diff(chosen) != 1) + 1)
    return np.concatenate([read(slice(int(run[0]), int(run[-1]) + 1)) for run in runs], axis=2)
