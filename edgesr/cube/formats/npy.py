"""The bare NumPy array."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgesr.cube.cube import Cube
from edgesr.cube.formats._base import Reader, register


@register
class Npy(Reader):
    """Memory-maps an array [H, W, B]; nothing is read before it is used."""

    name, title, kind, order = "npy", ".npy", "a NumPy array", 40

    def recognises(self, path: Path, start: bytes) -> bool:
        return start.startswith(b"\x93NUMPY")

    def read(self, path: Path, wanted: str | None) -> Cube:
        return Cube(np.load(path, mmap_mode="r", allow_pickle=False), path.stem, source=str(path))
