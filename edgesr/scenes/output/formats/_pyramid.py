"""The image and its overviews as levels of blocks: each a quarter of the pixels of that below."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgesr.scenes.output.meta import SceneMeta
from edgesr.scenes.output.store import BlockStore

SMALLEST = 512
"""The last overview is not larger."""


def levels_of(meta: SceneMeta) -> int:
    """The image and its overviews."""
    longest, count = max(meta.height, meta.width), 1
    while longest > SMALLEST:
        longest, count = (longest + 1) // 2, count + 1
    return count


def size_of(meta: SceneMeta, level: int) -> tuple[int, int]:
    """Height and width of a level."""
    return -(-meta.height // 2**level), -(-meta.width // 2**level)


def grid_of(store: BlockStore, level: int) -> tuple[int, int]:
    height, width = size_of(store.meta, level)
    return -(-height // store.block), -(-width // store.block)


def blocks_of(store: BlockStore, level: int) -> Iterator[tuple[int, int]]:
    rows, cols = grid_of(store, level)
    return ((row, col) for row in range(rows) for col in range(cols))


def halve(store: BlockStore, level: int, row: int, col: int) -> bool:
    """Make a block of an overview, if there is all that it is made of and not yet itself."""
    if store.path(level, row, col) is not None:
        return True
    rows, cols = grid_of(store, level - 1)
    below = [
        (r, c)
        for r in (2 * row, 2 * row + 1)
        for c in (2 * col, 2 * col + 1)
        if r < rows and c < cols
    ]
    if any(store.path(level - 1, *place) is None for place in below):
        return False
    pixels = np.empty(_shape(store, level, row, col), store.meta.type)
    half = store.block // 2
    for r, c in below:
        part = _half(store, level - 1, r, c)
        top, left = (r - 2 * row) * half, (c - 2 * col) * half
        pixels[:, top : top + part.shape[1], left : left + part.shape[2]] = part
    store.put(level, row, col, pixels.transpose(1, 2, 0))
    return True


def _half(store: BlockStore, level: int, row: int, col: int) -> np.ndarray:
    """Half of a block [B, (h + 1) // 2, (w + 1) // 2], which lies at the end of its file."""
    path = store.path(level, row, col)
    assert path is not None
    bands, height, width = _shape(store, level, row, col)
    shape = bands, (height + 1) // 2, (width + 1) // 2
    size = int(np.prod(shape)) * store.meta.type.itemsize
    return np.fromfile(path, store.meta.type, offset=path.stat().st_size - size).reshape(shape)


def _shape(store: BlockStore, level: int, row: int, col: int) -> tuple[int, int, int]:
    """Bands, height and width of a block."""
    height, width = size_of(store.meta, level)
    block = store.block
    return store.meta.bands, min(block, height - row * block), min(block, width - col * block)
