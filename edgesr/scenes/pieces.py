"""From the blocks that a scene's grid gives to those that are written, which a window may shift."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgesr.cube import Window
from edgesr.scenes.grid import Grid
from edgesr.scenes.output import SceneMeta


class Pieces:
    """Blocks of a scene's grid to blocks of an output, which begins at the window's corner."""

    def __init__(self, grid: Grid, part: Window, side: int) -> None:
        self._grid, self._part, self._side = grid, part, side
        self._open: dict[tuple[int, int], tuple[np.ndarray, int]] = {}
        sides = (axis.block * grid.scale for axis in (grid.rows, grid.cols))
        self._aligned = all(
            one % side == 0 and start % side == 0
            for one, start in zip(sides, (part.row, part.col), strict=True)
        )

    def wanted(self, done: set[tuple[int, int]]) -> list[tuple[int, int]]:
        """Blocks of the scene that output blocks which are not ``done`` are made of."""
        found = []
        for row, col in self._grid.blocks(self._part):
            if any(place not in done for place, _ in self._shares(row, col)):
                found.append((row, col))
        self._done = done
        return found

    def add(
        self, row: int, col: int, block: np.ndarray
    ) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
        """Output blocks that are complete with a block [B, h, w] of the scene."""
        whole = self._grid.block(row, col)
        for place, share in self._shares(row, col):
            if place in self._done:
                continue
            cut = block[
                :,
                share.row - whole.row : share.row - whole.row + share.height,
                share.col - whole.col : share.col - whole.col + share.width,
            ]
            target = self._output(place)
            if share == target:
                yield place, cut
                continue
            held, missing = self._open.pop(place, (None, target.pixels))
            if held is None:
                held = np.empty((block.shape[0], target.height, target.width), block.dtype)
            held[
                :,
                share.row - target.row : share.row - target.row + share.height,
                share.col - target.col : share.col - target.col + share.width,
            ] = cut
            missing -= share.pixels
            if missing:
                self._open[place] = held, missing
            else:
                yield place, held

    def bytes(self, meta: SceneMeta) -> int:
        """Bytes of blocks that are incomplete at a time, about."""
        if self._aligned:
            return 0
        rows = self._side + max(self._side, self._grid.rows.block * self._grid.scale)
        return min(rows, self._part.height) * self._part.width * meta.bands * meta.type.itemsize

    def _output(self, place: tuple[int, int]) -> Window:
        """An output block in the scene's HR pixels."""
        part, side = self._part, self._side
        row, col = (part.row + place[0] * side, part.col + place[1] * side)
        bottom, right = part.row + part.height, part.col + part.width
        return Window(row, col, min(side, bottom - row), min(side, right - col))

    def _shares(self, row: int, col: int) -> list[tuple[tuple[int, int], Window]]:
        """Output blocks that a block of the scene belongs to, and what of it does."""
        part, side = self._part, self._side
        block = self._grid.block(row, col)
        top, left = max(block.row, part.row), max(block.col, part.col)
        bottom = min(block.row + block.height, part.row + part.height)
        right = min(block.col + block.width, part.col + part.width)
        found = []
        for i in range((top - part.row) // side, (bottom - 1 - part.row) // side + 1):
            for j in range((left - part.col) // side, (right - 1 - part.col) // side + 1):
                target = self._output((i, j))
                r, c = max(top, target.row), max(left, target.col)
                low = min(bottom, target.row + target.height)
                end = min(right, target.col + target.width)
                found.append(((i, j), Window(r, c, low - r, end - c)))
        return found
