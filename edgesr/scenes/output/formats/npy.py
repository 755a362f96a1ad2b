"""NumPy's ``.npy``: the pixels alone, written piece by piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgesr.scenes.output.formats._base import Progress, register
from edgesr.scenes.output.formats._plain import Plain
from edgesr.scenes.output.meta import SceneMeta
from edgesr.scenes.output.store import BlockStore


@register
class Npy(Plain):
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
