"""Super-resolved lines to an ENVI file (band-interleaved by line), while they come."""

from __future__ import annotations

import math
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Sequence

import numpy as np

from .card import Card
from .errors import BoardError
from .files import discard, open_new, part_of, write_atomic
from .outputs import header_of

_ENVI_TYPES = {"uint8": 1, "int16": 2, "float32": 4, "uint16": 12}


@dataclass(frozen=True)
class Lines:
    """What the lines of a file are.

    Attributes:
        bands: of a line.
        width: samples of a line.
        scale: lines for each line of the source.
        dtype: of the numbers.
        nodata: their "no measurement".
        card: what the bands are, and the gain of native numbers.
        is_native: the numbers are the sensor's, not in [0, 1].
    """

    bands: int
    width: int
    scale: int
    dtype: np.dtype[Any]
    nodata: float
    card: Card
    is_native: bool


class LineWriter:
    """Writes ``path`` and ``path.hdr``; use as a context manager, nothing half-written stays.

    Lines that were dropped are nodata, so that every line keeps its place.
    """

    def __init__(self, path: Path, lines: Lines) -> None:
        self._path, self._kind = path, lines
        self._part = part_of(path)
        self._lines = 0
        self._stream: IO[bytes] | None = None
        shape = (lines.scale, lines.bands, lines.width)
        hole = np.asarray(lines.nodata).astype(lines.dtype)
        self._holes = np.full(shape, hole, lines.dtype)

    def __enter__(self) -> LineWriter:
        try:
            self._stream = open_new(self._part, buffering=0)
        except OSError as error:
            raise self._error(error) from error
        return self

    def write(self, first: int, lines: np.ndarray) -> None:
        """Append ``lines`` [n, B, W], whose top belongs to line ``first`` of the source.

        Raises:
            BoardError: they cannot be written, as on a full disk.
        """
        self._skip_to(first)
        self._append(lines)

    def finish(self, lines: int) -> None:
        """Complete the file to ``lines`` lines of the source, and give it its name.

        Raises:
            BoardError: it cannot be written; then there is no file.
        """
        self._skip_to(lines)
        assert self._stream is not None
        try:
            os.fsync(self._stream.fileno())
            self._stream.close()
            write_atomic(header_of(self._path), header(self._kind, self._lines).encode())
            self._part.replace(self._path)
        except OSError as error:
            raise self._error(error) from error

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            with suppress(OSError):  # a full disk was reported by the write that met it
                self._stream.close()
        discard(self._part)

    def _skip_to(self, line: int) -> None:
        while self._lines < line * self._kind.scale:
            self._append(self._holes)

    def _append(self, lines: np.ndarray) -> None:
        assert self._stream is not None
        rest = np.ascontiguousarray(lines).reshape(-1).view(np.uint8).data
        try:
            while len(rest):
                rest = rest[self._stream.write(rest) :]
        except OSError as error:
            raise self._error(error) from error
        self._lines += len(lines)

    def _error(self, error: OSError) -> BoardError:
        reason: Any = error.strerror or error
        return BoardError(f"{self._path} cannot be written ({reason}); choose another --write")


def header(kind: Lines, count: int) -> str:
    """ENVI header of ``count`` lines."""
    fields: dict[str, object] = {
        "samples": kind.width,
        "lines": count,
        "bands": kind.bands,
        "header offset": 0,
        "file type": "ENVI Standard",
        "data type": _ENVI_TYPES[kind.dtype.name],
        "interleave": "bil",
        "byte order": int(sys.byteorder == "big"),
        "data ignore value": "NaN" if math.isnan(kind.nodata) else f"{kind.nodata:.9g}",
    }
    card = kind.card
    if card.index is not None:
        fields["band names"] = _braces([f"band {place + 1}" for place in card.index])
    if card.wavelengths is not None:
        fields["wavelength units"] = "Nanometers"
        fields["wavelength"] = _numbers(card.wavelengths)
    if card.fwhm is not None:
        fields["fwhm"] = _numbers(card.fwhm)
    if kind.is_native and card.gain is not None:
        fields["data gain values"] = _numbers(card.gain)
        if len(set(card.gain)) == 1 and card.gain[0] > 0 and not any(card.offset or ()):
            fields["reflectance scale factor"] = f"{1.0 / card.gain[0]:.9g}"
    if kind.is_native and card.offset is not None:
        fields["data offset values"] = _numbers(card.offset)
    return "ENVI\n" + "".join(f"{key} = {value}\n" for key, value in fields.items())


def _numbers(values: Sequence[float]) -> str:
    return _braces([f"{value:.9g}" for value in values])


def _braces(values: Sequence[str]) -> str:
    return "{" + ", ".join(values) + "}"
