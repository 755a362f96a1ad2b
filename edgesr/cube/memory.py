"""Refusing what would not fit, before the machine starts to swap."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np

from edgesr.cube.cube import Cube
from edgesr.errors import DataError


def free_memory() -> int:
    """Bytes that a new allocation can have without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def total_memory() -> int:
    """Bytes of memory of the machine."""
    import psutil

    return int(psutil.virtual_memory().total)


def held_memory() -> int:
    """Bytes that this process holds."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def most_held_memory() -> int:
    """Most bytes that it has held; what it was forked from does not count on Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = (line.split() for line in status.read_text().splitlines())
        return next(int(words[1]) * 1024 for words in lines if words[0] == "VmHWM:")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def require_memory(needed: int, what: str, advice: str, free: int | None = None) -> None:
    """Raise DataError when ``what`` needs more bytes than are free; ``advice`` says what to do.

    ``free`` are those of a device with memory of its own.
    """
    free = free_memory() if free is None else free
    if needed > free:
        raise DataError(
            f"{what} needs about {needed / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are "
            f"free; {advice}"
        )


def require_memory_to_select(cube: Cube, indices: np.ndarray) -> None:
    """Refuse a band selection that copies more than fits; evenly spaced bands are not copied."""
    if np.unique(np.diff(indices)).size > 1:
        height, width, _ = cube.shape
        require_memory(
            height * width * indices.size * cube.data.dtype.itemsize,
            f"{cube.name}: picking {indices.size} separate bands",
            "name one contiguous range, such as --bands 4-32, or take --bands all",
        )
