"""Blocks kept as they are, for formats of whole arrays."""

from __future__ import annotations

import numpy as np

from edgesr.scenes.output.formats._base import Format, Progress
from edgesr.scenes.output.meta import SceneMeta
from edgesr.scenes.output.store import BlockStore


class Plain(Format):
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
