"""From the answers for tiles back to whole lines in the numbers of the file."""

from __future__ import annotations

import numpy as np

from .live_grid import Grid, Overlap
from .live_numbers import Numbers
from .live_tiles import Block


class Joiner:
    """Puts columns side by side and blocks below each other, without seams.

    Args:
        height: lines of a block.
        width: samples of a line that went in.
        bands: of a line that comes out.
        scale: output pixels per input pixel.
        along: how blocks join.
    """

    def __init__(
        self,
        numbers: Numbers,
        grid: Grid,
        along: Overlap,
        height: int,
        width: int,
        bands: int,
        scale: int,
    ) -> None:
        self._numbers, self._grid, self._scale, self._height = numbers, grid, scale, height
        self._fade = along.fade
        line = (bands, width * scale)
        self._lines = np.empty((height * scale, *line), numbers.written)
        self._last = np.empty((along.fade * scale, *line), numbers.written)
        self._follows: int | None = None
        widest = max(column.stop - column.first for column in grid.columns)
        self._band = np.empty((height * scale, widest * scale), np.float32)
        fade = max(column.fade for column in grid.columns)
        self._strip = np.empty((height * scale, bands, fade * scale), np.float32)
        self._line = np.empty(line, np.float32)
        self._hole = np.asarray(numbers.written_nodata).astype(numbers.written)

    def add(self, block: Block, place: int, answer: np.ndarray) -> None:
        """Take the answer [1, B, r*h, r*w] for a column of a block."""
        column, r, numbers = self._grid.columns[place], self._scale, self._numbers
        rows = self._rows(block)
        inside = slice((column.first - column.start) * r, (column.stop - column.start) * r)
        across = slice(column.first * r, column.stop * r)
        given = answer[0][:, rows, inside]
        lines = self._lines[: rows.stop - rows.start, :, across]
        fade = column.fade * r
        weights = _ramp(fade)
        if numbers.span is None or numbers.lower is None:  # the file's numbers already
            answers = given.transpose(1, 0, 2)
            np.copyto(lines[:, :, fade:], answers[:, :, fade:], casting="same_kind")
            if fade:
                strip = self._strip[: len(lines), :, :fade]
                np.copyto(strip, answers[:, :, :fade])
                _fade(strip, lines[:, :, :fade], weights)
                self._round(strip)
                np.copyto(lines[:, :, :fade], strip, casting="unsafe")
            return
        work = self._band[: lines.shape[0], : lines.shape[2]]
        for band in range(len(given)):  # one at a time stays in the processor's cache
            np.multiply(given[band], numbers.span[band], out=work)
            np.add(work, numbers.lower[band], out=work)
            if fade:
                _fade(work[:, :fade], lines[:, band, :fade], weights)
            self._round(work)
            np.copyto(lines[:, band], work, casting="unsafe")

    def finish(self, block: Block) -> np.ndarray:
        """The block's new lines [n, B, r*W]; valid until the next one is begun."""
        cut, r = block.cut, self._scale
        rows = self._rows(block)
        lines = self._lines[: rows.stop - rows.start]
        if self._fade and self._follows == cut.first:
            for line, before, weight in zip(lines, self._last, _ramp(len(self._last))):
                np.copyto(self._line, line)
                _fade(self._line, before, weight)
                self._round(self._line)
                np.copyto(line, self._line, casting="unsafe")
        if block.mask is not None:
            seen = block.mask[rows.start // r : rows.stop // r]
            for row in np.flatnonzero(seen.any(axis=1)):
                hole = np.repeat(seen[row], r)
                np.copyto(lines[row * r : (row + 1) * r], self._hole, where=hole)
        new = cut.count * r
        if len(lines) > new:
            np.copyto(self._last[: len(lines) - new], lines[new:])
            self._follows = cut.first + cut.count
        return lines[:new]

    def _rows(self, block: Block) -> slice:
        """Rows of an answer that are new, and those that fade into the next block."""
        cut = block.cut
        after = min(self._fade, self._height - cut.offset - cut.count)
        return slice(cut.offset * self._scale, (cut.offset + cut.count + after) * self._scale)

    def _round(self, values: np.ndarray) -> None:
        if self._numbers.written.kind != "f":
            low, high = self._numbers.limits()
            np.rint(values, out=values)
            np.clip(values, low, high, out=values)


def _ramp(count: int) -> np.ndarray:
    return ((np.arange(count) + 0.5) / max(1, count)).astype(np.float32)


def _fade(values: np.ndarray, before: np.ndarray, weights: np.ndarray) -> None:
    """From ``before`` to ``values``, which are changed; where both are the same they stay so."""
    values -= before
    values *= weights
    values += before
