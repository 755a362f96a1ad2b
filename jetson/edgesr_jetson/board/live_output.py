"""Super-resolved lines to an ENVI file (float32, band-interleaved by line), while they come."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from .errors import BoardError
from .files import discard, open_new, part_of, write_atomic
from .outputs import header_of


class LineWriter:
    """Writes ``path`` and ``path.hdr``; use as a context manager, nothing half-written stays.

    Lines that were dropped are NaN, so that every line keeps its place.

    Args:
        scale: output lines per input line.
    """

    def __init__(self, path: Path, bands: int, width: int, scale: int) -> None:
        self._path, self._bands, self._width, self._scale = path, bands, width, scale
        self._part = part_of(path)
        self._lines = 0
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> LineWriter:
        try:
            self._stream = open_new(self._part)
        except OSError as error:
            raise self._error(error) from error
        return self

    def write(self, first: int, image: np.ndarray) -> None:
        """Append ``image`` [B, lines, width], whose top belongs to input line ``first``."""
        missing = first * self._scale - self._lines
        if missing > 0:
            self._append(np.full((missing, self._bands, self._width), np.nan, np.float32))
        self._append(np.ascontiguousarray(image.transpose(1, 0, 2), dtype="<f4"))

    def finish(self, lines: int) -> None:
        """Complete the file to ``lines`` input lines, and give it its name."""
        missing = lines * self._scale - self._lines
        if missing > 0:
            self._append(np.full((missing, self._bands, self._width), np.nan, np.float32))
        assert self._stream is not None
        header = (
            f"ENVI\nsamples = {self._width}\nlines = {self._lines}\nbands = {self._bands}\n"
            "header offset = 0\nfile type = ENVI Standard\ndata type = 4\ninterleave = bil\n"
            "byte order = 0\ndata ignore value = NaN\n"
        )
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            write_atomic(header_of(self._path), header.encode())
            self._part.replace(self._path)
        except OSError as error:
            raise self._error(error) from error

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            with suppress(OSError):  # a full disk was reported by the write that met it
                self._stream.close()
        discard(self._part)

    def _append(self, lines: np.ndarray) -> None:
        assert self._stream is not None
        try:
            self._stream.write(lines.tobytes())
        except OSError as error:
            raise self._error(error) from error
        self._lines += len(lines)

    def _error(self, error: OSError) -> BoardError:
        reason: Any = error.strerror or error
        return BoardError(f"{self._path} cannot be written ({reason}); choose another --write")
