"""The bare NumPy array."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgesr.cube.cube import Cube
from edgesr.cube.formats._base import Reader, register
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions
from edgesr.cube.pixels import ArrayPixels


@register
class Npy(Reader):
    """Memory-maps an array [H, W, B]; nothing is read before it is used."""

    name, title, kind, order = "npy", ".npy", "a NumPy array", 40
    options = ("axes",)

    def recognises(self, path: Path, start: bytes) -> bool:
        return start.startswith(b"\x93NUMPY")

    def open(self, path: Path, wanted: str | None, options: ReadOptions) -> OpenCube:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        if stored.ndim == 3 and options.order is not None:
            stored = stored.transpose(options.order)
        cube = Cube(stored, path.stem)  # checks the array
        return OpenCube(
            ArrayPixels(cube.data),
            cube.name,
            source=str(path),
            axes_assumed=options.order is None,
        )
