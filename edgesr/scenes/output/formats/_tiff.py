"""Directories of TIFF files, little-endian: read from what GDAL wrote, written into a new file.

::

    header   II 42 offset (8 bytes)   or, BigTIFF, II 43 8 0 offset (16 bytes)
    directory := count  entry...  offset of the next directory     entry := tag kind count value
                 values of entries that have no room in their entry

Source: Adobe, "TIFF Revision 6.0"; AWare Systems, "BigTIFF Design".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

WIDTH, HEIGHT, SUBFILE = 256, 257, 254
TILE_OFFSETS, TILE_SIZES = 324, 325
LONG, LONG8 = 4, 16
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
_KINDS = {3: "<u2", 4: "<u4", 16: "<u8"}


@dataclass(frozen=True)
class Entry:
    """Values of a tag as they are stored."""

    kind: int
    count: int
    data: bytes

    @classmethod
    def of(cls, values: np.ndarray | int, kind: int = LONG) -> Entry:
        """Whole numbers as an entry."""
        array = np.atleast_1d(np.asarray(values)).ravel().astype(_KINDS[kind])
        return cls(kind, array.size, array.tobytes())

    def numbers(self) -> np.ndarray:
        """Whole numbers, uint64."""
        return np.frombuffer(self.data, _KINDS[self.kind]).astype(np.uint64)


Directory = Mapping[int, Entry]


@dataclass(frozen=True)
class Layout:
    """The two variants of the format: sizes of offsets, and all that follows from them."""

    big: bool

    @property
    def header(self) -> int:
        """Bytes of the header."""
        return 16 if self.big else 8

    @property
    def offsets(self) -> int:
        """Kind of entries that hold offsets."""
        return LONG8 if self.big else LONG

    def pack_header(self, first: int) -> bytes:
        """The header of a file whose first directory is at ``first``."""
        if self.big:
            return struct.pack("<2sHHHQ", b"II", 43, 8, 0, first)
        return struct.pack("<2sHI", b"II", 42, first)

    def size(self, directory: Directory) -> int:
        """Bytes of a directory with its values."""
        outside = (len(entry.data) for entry in directory.values())
        room = 8 if self.big else 4
        return self._fixed(directory) + sum(n + n % 2 for n in outside if n > room)

    def pack(self, directory: Directory, at: int, following: int) -> bytes:
        """A directory that will stand at ``at``; ``following`` is the next one's place, or 0."""
        entry_format, room = ("<HHQ", 8) if self.big else ("<HHI", 4)
        number = "<Q" if self.big else "<I"
        entries, outside = [], bytearray()
        values = at + self._fixed(directory)
        for tag, entry in sorted(directory.items()):
            data = entry.data
            if len(data) > room:
                place = struct.pack(number, values + len(outside))
                outside += data + b"\0" * (len(data) % 2)
                data = place
            head = struct.pack(entry_format, tag, entry.kind, entry.count)
            entries.append(head + data.ljust(room, b"\0"))
        count = struct.pack("<Q" if self.big else "<H", len(entries))
        return count + b"".join(entries) + struct.pack(number, following) + bytes(outside)

    def _fixed(self, directory: Directory) -> int:
        return (16 + 20 * len(directory)) if self.big else (6 + 12 * len(directory))


def read_directory(file: BinaryIO) -> dict[int, Entry]:
    """The first directory of a little-endian file.

    Raises:
        ValueError: it is none.
    """
    file.seek(0)
    start = file.read(16)
    if start[:4] == b"II*\0":
        layout, (at,) = Layout(big=False), struct.unpack_from("<I", start, 4)
    elif start[:4] == b"II+\0":
        layout, (at,) = Layout(big=True), struct.unpack_from("<Q", start, 8)
    else:
        raise ValueError("it is no little-endian TIFF file")
    wide = "Q" if layout.big else "I"
    file.seek(at)
    counting = "<Q" if layout.big else "<H"
    (count,) = struct.unpack(counting, file.read(struct.calcsize(counting)))
    size = 20 if layout.big else 12
    entries = file.read(size * count)
    directory = {}
    for start_of in range(0, len(entries), size):
        tag, kind, values = struct.unpack_from(f"<HH{wide}", entries, start_of)
        length = _BYTES[kind] * values
        room = size - struct.calcsize(f"<HH{wide}")
        data = entries[start_of + size - room : start_of + size]
        if length > room:
            file.seek(struct.unpack(f"<{wide}", data)[0])
            data = file.read(length)
        directory[tag] = Entry(kind, values, data[:length])
    return directory
