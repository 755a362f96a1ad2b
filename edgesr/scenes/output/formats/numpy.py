"""NumPy files: ``.npy`` of the pixels alone, ``.npz`` with all that is known of them."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path

import numpy as np

from edgesr.cube.cube import Cube
from edgesr.cube.memory import require_memory
from edgesr.cube.own import save_npz
from edgesr.scenes.output.formats._base import Format, Progress, register
from edgesr.scenes.output.meta import SceneMeta
from edgesr.scenes.output.store import BlockStore


class _Plain(Format):
    """Blocks [h, w, B] as they are."""

    def encode(self, pixels: np.ndarray, meta: SceneMeta, block: int) -> bytes:
        return np.ascontiguousarray(pixels).tobytes()

    def fill(self, image: np.ndarray, store: BlockStore, progress: Progress) -> None:
        """Put all blocks into an image [H, W, B]."""
        rows, cols = store.grid
        for row in range(rows):
            for col in range(cols):
                path = store.path(0, row, col)
                assert path is not None
                height, width, bands = store.shape(row, col)
                block = np.fromfile(path, store.meta.type).reshape(height, width, bands)
                top, left = row * store.block, col * store.block
                image[top : top + height, left : left + width] = block
                progress(row * cols + col + 1, rows * cols)


@register
class Npy(_Plain):
    """Pixels [H, W, B] and nothing else."""

    name, title, suffixes = "npy", "NumPy array", (".npy",)

    def check(self, target: Path, meta: SceneMeta) -> None:
        """It takes any."""

    def assemble(self, store: BlockStore, folder: Path, progress: Progress) -> None:
        meta = store.meta
        image = np.lib.format.open_memmap(
            folder / store.target.name,
            "w+",
            meta.type,
            (meta.height, meta.width, meta.bands),
        )
        self.fill(image, store, progress)
        image.flush()


@register
class Npz(_Plain):
    """edgesr's own: pixels and metadata, put together in memory."""

    name, title, suffixes = "npz", "edgesr's own .npz", (".npz",)

    def check(self, target: Path, meta: SceneMeta) -> None:
        require_memory(
            2 * meta.nbytes,
            f"{target}: putting an .npz together",
            "choose .tif, .zarr or .img, which are written piece by piece",
        )

    def assemble(self, store: BlockStore, folder: Path, progress: Progress) -> None:
        meta = store.meta
        image = np.empty((meta.height, meta.width, meta.bands), meta.type)
        self.fill(image, store, progress)
        own = {field.name for field in fields(Cube)} & {field.name for field in fields(meta)}
        known = {name: getattr(meta, name) for name in own}
        nodata = meta.nodata if meta.nodata is not None and not math.isnan(meta.nodata) else None
        mask = Cube(image, nodata=nodata).invalid()
        save_npz(
            Cube(image, store.target.stem, mask=mask if mask.any() else None, **known),
            folder / store.target.name,
        )
