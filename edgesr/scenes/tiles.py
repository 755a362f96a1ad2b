"""From an open scene to blocks of the result: tiles read, run at once, joined without seams."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from edgesr_export.sizes import mirrored

from edgesr.cube import Window
from edgesr.cube.opened import OpenCube
from edgesr.errors import ModelError
from edgesr.scenes.grid import Grid
from edgesr.scenes.network import Numbers, TileNetwork


@dataclass(frozen=True)
class Source:
    """The pixels of a scene as a network takes them.

    Attributes:
        cube: the scene.
        numbers: its bands, and what fills nodata.
        dtype: of the tiles.
        size: height and width that the network is fixed to; None where they are free.
    """

    cube: OpenCube
    numbers: Numbers
    dtype: np.dtype
    size: tuple[int | None, int | None] = (None, None)

    def read(self, window: Window) -> tuple[np.ndarray | None, np.ndarray]:
        """A tile [B, h, w], filled where there is no measurement, and bool [h, w] of where.

        The tile is None where there is none at all.
        """
        index = self.numbers.index
        stored = self.cube.read(window, index)
        invalid = self.cube.invalid(window, index, stored)
        if invalid.all():
            return None, invalid
        with np.errstate(over="ignore", invalid="ignore"):  # of what is replaced next
            tile = stored.astype(self.dtype, copy=False)
        if invalid.any():
            fill = self.numbers.fill
            if self.dtype.kind != "f":
                limits = np.iinfo(self.dtype)
                fill = np.clip(np.rint(fill), limits.min, limits.max)
            tile[invalid] = fill.astype(self.dtype)
        tile = np.ascontiguousarray(tile.transpose(2, 0, 1))
        return _grown(tile, self.size), invalid


def _grown(tile: np.ndarray, size: tuple[int | None, int | None]) -> np.ndarray:
    """A tile that is smaller than a network's only size goes on mirrored at its end."""
    for axis, wanted in zip((1, 2), size, strict=True):
        length = tile.shape[axis]
        if wanted is not None and wanted > length:
            tile = np.ascontiguousarray(tile.take(mirrored(length, wanted), axis))
    return tile


class Blank:
    """What stands for "no measurement" in the result, and nowhere else.

    Args:
        nodata: the number, which the output's type holds.
        dtype: of the output.
        scale: HR pixels per LR pixel.
        reach: lowest and highest number that the network is likely to give; a result is looked
            through for the nodata number only where that can be met.
    """

    def __init__(
        self, nodata: float | None, dtype: np.dtype, scale: int, reach: tuple[float, float]
    ) -> None:
        self.number = dtype.type(0 if nodata is None else nodata)
        self._scale = scale
        self._neighbour: np.generic | None = None
        if nodata is not None and np.isfinite(nodata) and reach[0] <= nodata <= reach[1]:
            other: np.generic
            if dtype.kind == "f":
                other = np.nextafter(self.number, dtype.type(np.inf))
            else:
                top = self.number == np.iinfo(dtype).max
                other = dtype.type(int(self.number) - 1 if top else int(self.number) + 1)
            self._neighbour = other

    def put(self, result: np.ndarray, invalid: np.ndarray) -> None:
        """Mark pixels [h, w] of the LR image in a result [B, h r, w r], in place."""
        if self._neighbour is not None:
            result[result == self.number] = self._neighbour
        if invalid.any():
            r = self._scale
            height, width = (length * r for length in invalid.shape)
            mask = invalid.repeat(r, axis=0).repeat(r, axis=1)
            result[:, :height, :width][:, mask] = self.number

    def whole(self, shape: tuple[int, int, int]) -> np.ndarray:
        """A block without a measurement."""
        return np.full(shape, self.number)


@dataclass
class Run:
    """A network run over a scene.

    Attributes:
        source: of the tiles.
        network: that super-resolves them.
        grid: of tiles and blocks.
        blank: marks what was not measured.
        bands: B of the result.
        workers: tiles that are computed at once.
        more: further bands [B', h, w] of a tile's result, of its window; None for none.
        order: of the result's bands, as indices into those of both; None as they come.
        kept: results of tiles that were run already; each is given once.
    """

    source: Source
    network: TileNetwork
    grid: Grid
    blank: Blank
    bands: int
    workers: int
    more: Callable[[Window], np.ndarray] | None = None
    order: list[int] | None = None
    kept: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    _empty: set[tuple[int, int]] = field(default_factory=set)

    def first(self, tiles: Iterable[tuple[int, int]]) -> np.ndarray | None:
        """What the first of these gives that holds a measurement; :meth:`blocks` has it then."""
        for row, col in tiles:
            found = self.tile(row, col)
            if found is not None:
                self.kept[row, col] = found
                return found
        return None

    def tile(self, row: int, col: int) -> np.ndarray | None:
        """What a tile gives [B, h, w] for its block and the fades behind it; None if all blank."""
        grid, r = self.grid, self.grid.scale
        if (row, col) in self._empty:
            return None
        if (row, col) in self.kept:
            return self.kept.pop((row, col))
        window = grid.seen(row, col)
        tile, invalid = self.source.read(window)
        if tile is None:
            self._empty.add((row, col))
            return None
        result = self.network(tile)
        expected = (tile.shape[0], tile.shape[1] * r, tile.shape[2] * r)
        if result.shape != expected:
            raise ModelError(
                f"the model turns a tile {list(tile.shape)} into {list(result.shape)}, not"
                f" {list(expected)} as its card says; make the file again"
            )
        if self.more is not None:
            size = (slice(None), slice(window.height * r), slice(window.width * r))
            result = np.concatenate([result[size], self.more(window)])[self.order]
        self.blank.put(result, invalid)
        (top, bottom), (left, right) = grid.rows.used(row), grid.cols.used(col)
        return result[
            :,
            (top - window.row) * r : (bottom - window.row) * r,
            (left - window.col) * r : (right - window.col) * r,
        ]

    def blocks(self, wanted: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, np.ndarray]]:
        """Blocks [B, h, w] of the result, in order; each is complete and the caller's own."""
        grid = self.grid
        join = _Join(grid)
        keep = set(wanted)
        tiles = grid.needed(list(wanted))
        self.kept = {place: found for place, found in self.kept.items() if place in tiles}
        for row, col, found in self._tiles(tiles):
            block = join.add(row, col, found)
            if (row, col) in keep:
                if block is None:
                    window = grid.block(row, col)
                    block = self.blank.whole((self.bands, window.height, window.width))
                yield row, col, block

    def _tiles(
        self, tiles: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[int, int, np.ndarray | None]]:
        """The results of tiles in order, some computed ahead."""
        waiting: deque[tuple[int, int, Future[np.ndarray | None]]] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="tile")
        try:
            for row, col in tiles:
                waiting.append((row, col, pool.submit(self.tile, row, col)))
                if len(waiting) > self.workers:  # one more than are at work
                    first = waiting.popleft()
                    yield first[0], first[1], first[2].result()
            while waiting:
                first = waiting.popleft()
                yield first[0], first[1], first[2].result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Join:
    """Fades tiles into each other; what is carried from row to row is the fade alone."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        r = grid.scale
        self._below: dict[int, np.ndarray] = {}  # by column: the fade under the row before
        self._right: tuple[int, int, np.ndarray] | None = None  # the fade behind the tile before
        self._fades = grid.rows.fade * r, grid.cols.fade * r
        self._sides = grid.rows.block * r, grid.cols.block * r

    def add(self, row: int, col: int, tile: np.ndarray | None) -> np.ndarray | None:
        """The block of a tile; what it fades from must have been added before."""
        before, self._right = self._right, None
        above = self._below.pop(col, None)
        if tile is None:
            return None
        (fade_rows, fade_cols), (height, width) = self._fades, self._sides
        if fade_cols:
            if before is not None and before[:2] == (row, col - 1):
                _fade(before[2], tile[:, :, :fade_cols], axis=2)
            if tile.shape[2] > width:
                self._right = (row, col, tile[:, :, width:].copy())
        tile = tile[:, :, :width]
        if fade_rows:
            if above is not None:
                _fade(above, tile[:, :fade_rows], axis=1)
            if tile.shape[1] > height:
                self._below[col] = tile[:, height:].copy()
        return tile[:, :height]


def _fade(old: np.ndarray, new: np.ndarray, axis: int) -> None:
    """Fade from one image to the other along an axis; into ``new``, and as far as ``old`` goes."""
    length = old.shape[axis]
    weight = ((np.arange(length) + 0.5) / length).astype(np.float32)
    weight = weight.reshape([-1 if one == axis else 1 for one in range(3)])
    part = [slice(None)] * 3
    part[axis] = slice(length)
    other = 3 - axis
    part[other] = slice(min(old.shape[other], new.shape[other]))
    old = old[tuple(part)]
    place = new[tuple(part)]
    with np.errstate(invalid="ignore"):  # NaN is nodata, in both
        mixed = old.astype(np.float32) * (1 - weight) + place.astype(np.float32) * weight
    place[...] = mixed if new.dtype.kind == "f" else np.rint(mixed)
