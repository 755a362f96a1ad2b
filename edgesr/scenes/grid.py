"""How a scene is cut into tiles: a function of the scene's size and the model alone.

Along one axis, in LR pixels, with blocks of S, a fade of f and a margin of m::

    block k     [ k S ................ (k + 1) S )
    tile k      [ k S - m ............ (k + 1) S + f + m )     shifted to lie inside the image
    its result  [ k S ................ (k + 1) S + f )         the rest was only seen

Over the first f pixels of a block the result of the tile before fades into its own; so a block is
complete when its own tile is there, and no more than the fades are carried along. A network whose
context is finite needs no fade: with a margin of its context, every tile gives what the whole image
at once would give.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgesr.cube import Window

BLOCK = 256
"""HR side that blocks come close to: the tiles of a Cloud Optimized GeoTIFF."""

FADE, SEEN = 4, 1
"""LR pixels of fade and margin for a network whose context is global."""

_WORTH = 8  # a block is at least so many times its margin: at most 1.6 times the pixels are seen
_STEP = 16  # HR sides of blocks are multiples of it


@dataclass(frozen=True)
class Axis:
    """The tiles along one axis.

    Attributes:
        length: of the image, LR pixels.
        block: S.
        fade: f.
        margin: m.
        fixed: whether the network takes tiles of one size alone.
    """

    length: int
    block: int
    fade: int
    margin: int
    fixed: bool = False

    @property
    def count(self) -> int:
        """Number of blocks."""
        return -(-self.length // self.block)

    @property
    def tile(self) -> int:
        """Side of every tile, LR pixels; a short image is one tile, mirrored where it must be."""
        side = self.block + self.fade + 2 * self.margin
        return side if self.fixed else min(side, self.length)

    def core(self, index: int) -> tuple[int, int]:
        """First LR pixel of a block, and the one behind its last."""
        return index * self.block, min((index + 1) * self.block, self.length)

    def used(self, index: int) -> tuple[int, int]:
        """The same of what its tile gives: the block and the fade behind it."""
        return index * self.block, min((index + 1) * self.block + self.fade, self.length)

    def seen(self, index: int) -> tuple[int, int]:
        """The same of what its tile sees of the image."""
        side = min(self.tile, self.length)
        start = min(max(0, index * self.block - self.margin), self.length - side)
        return start, start + side


@dataclass(frozen=True)
class Grid:
    """The tiles of an image.

    Attributes:
        rows, cols: along either axis.
        scale: HR pixels per LR pixel.
    """

    rows: Axis
    cols: Axis
    scale: int

    @classmethod
    def of(
        cls,
        height: int,
        width: int,
        scale: int,
        context: int | str | None,
        size: tuple[int | None, int | None] = (None, None),
    ) -> Grid:
        """The grid for an image of ``height`` x ``width`` LR pixels.

        Args:
            height, width: of the image.
            scale: of the network.
            context: of the network; None is taken for global.
            size: height and width that the network is fixed to.
        """
        finite = isinstance(context, int)
        fade, margin = (0, int(context or 0)) if finite else (FADE, SEEN)
        rows, cols = (
            _axis(length, scale, fade, margin, fixed)
            for length, fixed in zip((height, width), size, strict=True)
        )
        return cls(rows, cols, scale)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return self.rows.count, self.cols.count

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of a tile, LR pixels."""
        return self.rows.tile, self.cols.tile

    def seen(self, row: int, col: int) -> Window:
        """What a tile sees of the LR image."""
        (top, bottom), (left, right) = self.rows.seen(row), self.cols.seen(col)
        return Window(top, left, bottom - top, right - left)

    def block(self, row: int, col: int) -> Window:
        """A block, in HR pixels."""
        (top, bottom), (left, right) = self.rows.core(row), self.cols.core(col)
        r = self.scale
        return Window(top * r, left * r, (bottom - top) * r, (right - left) * r)

    def blocks(self, within: Window | None = None) -> list[tuple[int, int]]:
        """Blocks in order, those that hold a pixel of an HR window."""
        rows, cols = self.shape
        return [
            (row, col)
            for row in range(rows)
            for col in range(cols)
            if within is None or self.block(row, col).intersects(within)
        ]

    def needed(self, wanted: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Tiles that blocks are made of, in order: their own, and those that fade into them."""
        found = set(wanted)
        for row, col in wanted:
            rows = {row, row - 1} if self.rows.fade else {row}
            cols = {col, col - 1} if self.cols.fade else {col}
            found |= {(r, c) for r in rows for c in cols if r >= 0 and c >= 0}
        return sorted(found)

    @cached_property
    def overhead(self) -> float:
        """Pixels that the network sees, divided by those of the image."""
        seen = np.prod([axis.count * axis.tile for axis in (self.rows, self.cols)])
        return float(seen / (self.rows.length * self.cols.length))


def _axis(length: int, scale: int, fade: int, margin: int, fixed: int | None) -> Axis:
    if fixed is None:
        usual = usual_block(scale)
        return Axis(length, usual * max(1, -(-_WORTH * margin // usual)), fade, margin)
    while fade + 2 * margin > fixed // 2:  # a small network: less of everything
        fade, margin = fade // 2, margin // 2
    least = _STEP // np.gcd(_STEP, scale)
    block = (fixed - fade - 2 * margin) // least * least
    return Axis(length, int(block), fade, int((fixed - fade - block) // 2), fixed=True)


def usual_block(scale: int) -> int:
    """LR side of the blocks: about 256 HR pixels, at least 64 LR pixels."""
    least = int(_STEP // np.gcd(_STEP, scale))
    return max(64, BLOCK // scale) // least * least
