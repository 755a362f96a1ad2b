"""edgesr's own ``.npz``: pixels with all that is known of them."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path

import numpy as np

from edgesr.cube.cube import Cube
from edgesr.cube.memory import require_memory
from edgesr.cube.writers import write_cube
from edgesr.scenes.output.formats._base import Progress, register
from edgesr.scenes.output.formats._plain import Plain
from edgesr.scenes.output.meta import SceneMeta
from edgesr.scenes.output.store import BlockStore


@register
class Npz(Plain):
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
        write_cube(
            Cube(image, store.target.stem, mask=mask if mask.any() else None, **known),
            folder / store.target.name,
        )
