"""NumPy's ``.npy``: the pixels alone, written piece by piece."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from edgesr.errors import EdgesrWarning
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
        _warn_of_loss(meta)
        image = np.lib.format.open_memmap(
            folder / store.target.name,
            "w+",
            meta.type,
            (meta.height, meta.width, meta.bands),
        )
        self.fill(image, store, progress)
        image.flush()


def _warn_of_loss(meta: SceneMeta) -> None:
    lost = [
        name
        for name in (
            "nodata",
            "wavelengths",
            "fwhm",
            "bad_bands",
            "band_names",
            "gain",
            "offset",
            "crs",
            "transform",
            "gcps",
            "rpcs",
        )
        if (value := getattr(meta, name)) is not None and np.size(value)
    ]
    if lost:
        warnings.warn(
            f".npy holds numbers only; {', '.join(lost)} are not saved (.npz or .tif keeps them)",
            EdgesrWarning,
            stacklevel=2,
        )
