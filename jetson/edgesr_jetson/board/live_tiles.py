"""From lines as they come to tiles that a network takes; all buffers are made once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .live_blocks import Cut, Schedule
from .live_grid import Grid
from .live_numbers import Masks, Numbers, Range
from .live_source import Source


@dataclass
class Block:
    """One block on its way, without its pixels.

    Attributes:
        cut: which lines of the source it has.
        arrivals: when each of its new lines came.
        mask: nodata [h, W], or None where there is none.
        spent: seconds of work, by part.
    """

    cut: Cut
    arrivals: np.ndarray
    mask: np.ndarray | None
    spent: dict[str, float] = field(default_factory=dict)

    def add(self, part: str, seconds: float) -> None:
        """Count time that a part took."""
        self.spent[part] = self.spent.get(part, 0.0) + seconds


class Slot:
    """Tiles of one block, one a column.

    Attributes:
        tiles: [n, 1, C, h, w].
        block: whose they are.
    """

    def __init__(self, columns: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        self.tiles = np.zeros((columns, *shape), dtype)
        self.block: Block | None = None


class Former:
    """Keeps the last lines of a source, and makes blocks of them.

    Args:
        schedule: when blocks are due.
        grid: columns across the swath.

    Attributes:
        shape: of a tile, [1, C, h, w].
        holed: lines with nodata so far.
        range: what lies outside the training range.
    """

    def __init__(self, source: Source, numbers: Numbers, schedule: Schedule, grid: Grid) -> None:
        self.holed = 0
        self.shape = (1, numbers.count, schedule.height, grid.width)
        self._source, self._numbers, self._grid = source, numbers, grid
        self._schedule, self._height = schedule, schedule.height
        items = schedule.height // source.height
        self._ring = np.zeros((items, *source.item), source.dtype)
        self._lines = source.view(self._ring)
        self._mask = np.zeros((schedule.height, source.width), dtype=bool)
        self._arrivals = np.zeros(schedule.height)
        self._masks = Masks(numbers, source.width)
        self.range = Range(numbers, source.width)

    def slot(self) -> Slot:
        """Buffers for one block."""
        return Slot(len(self._grid.columns), self.shape, self._numbers.tile_dtype)

    def item(self) -> np.ndarray:
        """Where the next item of the source belongs."""
        place = self._schedule.seen // self._source.height % len(self._ring)
        return self._ring[place]

    def add(self, arrival: float) -> Cut | None:
        """Take note of the item that was put there; returns the block that is due with it."""
        first = self._schedule.seen % self._height
        for row in range(first, first + self._source.height):
            self._arrivals[row] = arrival
            line, mask = self._lines[:, row], self._mask[row]
            self.holed += self._masks.find(line, mask)
            self.range.look(line, mask)
        return self._schedule.add(self._source.height)

    def end(self) -> Cut | None:
        """The block of what is left."""
        return self._schedule.end()

    def form(self, cut: Cut, slot: Slot) -> Block:
        """Fill a slot with the block that is due."""
        oldest = self._schedule.seen % self._height
        order = np.r_[oldest : self._height, 0:oldest]
        new = order[cut.offset : cut.offset + cut.count]
        mask = self._mask[order] if self._mask.any() else None
        slot.block = block = Block(cut, self._arrivals[new], mask)
        pieces = (
            (slice(oldest, self._height), slice(0, self._height - oldest)),
            (slice(0, oldest), slice(self._height - oldest, self._height)),
        )
        for column, tile in zip(self._grid.columns, slot.tiles[:, 0]):
            samples = slice(column.start, min(column.start + self._grid.width, self._source.width))
            for source, target in self._numbers.bands:
                for rows, at in pieces:
                    if rows.start < rows.stop:
                        self._map(
                            self._lines[source, rows, samples],
                            target,
                            tile[target, at, : samples.stop - samples.start],
                        )
            self._complete(tile, samples, mask)
        return block

    def _map(self, values: np.ndarray, bands: slice, out: np.ndarray) -> None:
        lower, span = self._numbers.lower, self._numbers.span
        if lower is None or span is None:
            np.copyto(out, values, casting="same_kind")
            return
        np.subtract(values, lower[bands], out=out, casting="same_kind")
        np.divide(out, span[bands], out=out)
        np.clip(out, 0.0, 1.0, out=out)

    def _complete(self, tile: np.ndarray, samples: slice, mask: np.ndarray | None) -> None:
        """Put something in place of nodata, and beyond a swath that is narrower than a tile."""
        width = samples.stop - samples.start
        fill = self._numbers.fill
        if mask is not None and fill is not None:
            np.copyto(tile[:, :, :width], fill, where=mask[None, :, samples])
        if width < tile.shape[2]:
            beyond = np.arange(width, tile.shape[2]) % (2 * width)
            tile[:, :, width:] = tile[:, :, np.minimum(beyond, 2 * width - 1 - beyond)]
