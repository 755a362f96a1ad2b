"""The structure of a MATLAB 5 file, checked before SciPy reads it: SciPy trusts every tag.

::

    header (128 bytes)
    element := tag (type, bytes) data [padding to 8]    variable: miMATRIX, or miCOMPRESSED of one
    miMATRIX := flags  dimensions  name  content          content by the class of the array

A tag of a type that its place does not allow makes SciPy index beyond its tables. Here every type,
size and count is held against the others; data is passed over, not kept.

Source: MathWorks, "MAT-File Format", Level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

MATRIX, COMPRESSED = 14, 15
INT8, INT32, UINT32 = 1, 5, 6
SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
"""Bytes of a number, by the type of the element that holds it."""
TEXTS = {1, 2, 4, 16, 17, 18}
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17
NUMBERS = range(6, 16)
COMPLEX = 0x08
DEEPEST = 64
MOST = 1_000_000  # elements in a file
LONGEST = 1 << 48  # values of an array
CHUNK = 1 << 20


class Damaged(ValueError):  # noqa: N818  (never seen outside this room)
    """The file is no MATLAB 5 file, or a part of it contradicts another."""


def check_matlab5(path: Path) -> int:
    """Walk through a MATLAB 5 file, compressed variables included.

    Returns:
        The bytes that its structs take in memory, with all that lies in them.

    Raises:
        Damaged: something in it that SciPy must not be given.
    """
    with path.open("rb") as file:
        header = file.read(128)
        if len(header) < 128 or 0 in header[:4]:
            raise Damaged("it is no MATLAB 5 file; MATLAB 4 is not read")
        order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
        if order is None or struct.unpack(f"{order}H", header[124:126])[0] != 0x0100:
            raise Damaged("its header names another version")
        length = path.stat().st_size
        walker = _Walker(order)
        while file.tell() < length:
            start = file.tell()
            kind, size = walker.tag(_Plain(file, length - start))
            if kind not in (MATRIX, COMPRESSED) or file.tell() + size > length:
                raise Damaged(f"element {kind} at byte {start} is no variable of the file")
            end = file.tell() + size
            if kind == MATRIX:
                walker.matrix(_Plain(file, size))
            else:
                inner = _Inflated(file, size)
                kind, size = walker.tag(inner)
                if kind != MATRIX:
                    raise Damaged(f"element {kind} is compressed where a variable belongs")
                inner.limit = size
                walker.matrix(inner)
            file.seek(end)
    return walker.in_structs


class _Plain:
    """Bytes of a file up to a limit."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self.file, self.limit = file, limit

    def read(self, count: int) -> bytes:
        if count > self.limit:
            raise Damaged("an element is longer than what holds it")
        self.limit -= count
        found = self._take(count)
        if len(found) < count:
            raise Damaged("it ends within an element")
        return found

    def skip(self, count: int) -> None:
        while count > 0:
            count -= len(self.read(min(count, CHUNK)))  # compressed data has no other way

    def _take(self, count: int) -> bytes:
        return self.file.read(count)


class _Inflated(_Plain):
    """The content of a compressed element, piece by piece."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(file, 8)  # the tag of the variable; its size is the limit then
        self.left, self.zip, self.ready = size, zlib.decompressobj(), b""

    def _take(self, count: int) -> bytes:
        while len(self.ready) < count:
            source = self.zip.unconsumed_tail
            if not source:
                source = self.file.read(min(self.left, CHUNK))
                self.left -= len(source)
            try:
                more = self.zip.decompress(source, CHUNK)
            except zlib.error as error:
                raise Damaged(f"a compressed variable cannot be unpacked ({error})") from error
            if not more and not self.zip.unconsumed_tail and (self.zip.eof or not self.left):
                break
            self.ready += more
        found, self.ready = self.ready[:count], self.ready[count:]
        return found


class _Walker:
    def __init__(self, order: str) -> None:
        self.order, self.elements, self.in_structs = order, 0, 0
        self._in_struct = False

    def tag(self, source: _Plain) -> tuple[int, int]:
        """Type and size of an element in the long form, which a variable has."""
        kind, size = struct.unpack(f"{self.order}II", source.read(8))
        return kind, size

    def element(self, source: _Plain, kinds: set[int] | range, size: int | None = None) -> bytes:
        """The data of a short element, which must be of one of some types, and of a size."""
        kind, length, data = self._open(source)
        if kind not in kinds or (size is not None and length != size) or length > CHUNK:
            raise Damaged(f"an element of type {kind} with {length} bytes stands where none may")
        if data is None:
            data = source.read(length)
            source.skip(-length % 8)
        return data

    def values(self, source: _Plain, kinds: set[int], count: int | None = None) -> None:
        """Pass over ``count`` values, or over as many as there are."""
        kind, length, data = self._open(source)
        known = count is not None and kind in SIZES
        if kind not in kinds or (known and length != (count or 0) * SIZES[kind]):
            raise Damaged(f"an element of type {kind} with {length} bytes holds no {count} values")
        self.in_structs += length if self._in_struct else 0
        if data is None:
            source.skip(length)
            source.skip(min(-length % 8, source.limit))

    def _open(self, source: _Plain) -> tuple[int, int, bytes | None]:
        """Type and size of an element; its data, too, in the form that has both in eight bytes."""
        self.elements += 1
        if self.elements > MOST:
            raise Damaged(f"it holds more than {MOST} elements")
        first = source.read(4)
        word = struct.unpack(f"{self.order}I", first)[0]
        if word >> 16:
            kind, length = word & 0xFFFF, word >> 16
            if length > 4:
                raise Damaged(f"a small element claims {length} bytes")
            return kind, length, source.read(4)[:length]
        return word, struct.unpack(f"{self.order}I", source.read(4))[0], None

    def matrix(self, source: _Plain, depth: int = 0) -> None:
        """An array after its tag; ``source`` ends where it ends."""
        if depth > DEEPEST:
            raise Damaged(f"arrays lie within arrays more than {DEEPEST} deep")
        if not source.limit:
            return  # an empty array
        flags = struct.unpack(f"{self.order}I", self.element(source, {UINT32}, 8)[:4])[0]
        kind = flags & 0xFF
        self._in_struct = kind == STRUCT if depth == 0 else self._in_struct
        if kind == OPAQUE:
            for _ in range(3):
                self.element(source, {INT8})
            self._nested(source, 1, depth)
            return
        count = self._count(self.element(source, {INT32}))
        self.element(source, {INT8})
        if kind in NUMBERS:
            for _ in range(2 if flags >> 8 & COMPLEX else 1):
                self.values(source, set(SIZES), count)
        elif kind == CHAR:
            self.values(source, TEXTS, count)
        elif kind == SPARSE:
            for _ in range(4 if flags >> 8 & COMPLEX else 3):
                self.values(source, set(SIZES))
        elif kind == CELL:
            self._nested(source, count, depth)
        elif kind in (STRUCT, OBJECT):
            if kind == OBJECT:
                self.element(source, {INT8})
            width = struct.unpack(f"{self.order}i", self.element(source, {INT32}, 4))[0]
            names = self.element(source, {INT8})
            if width < 1 or len(names) % width:
                raise Damaged("the names of a struct's fields do not fit their length")
            self._nested(source, count * (len(names) // width), depth)
        elif kind == FUNCTION:
            self._nested(source, 1, depth)
        else:
            raise Damaged(f"it holds an array of the unknown class {kind}")

    def _count(self, data: bytes) -> int:
        if len(data) % 4 or not 8 <= len(data) <= 4 * 32:
            raise Damaged("an array has too few or too many dimensions")
        lengths = struct.unpack(f"{self.order}{len(data) // 4}i", data)
        count = math.prod(lengths)
        if min(lengths) < 0 or count > LONGEST:
            raise Damaged(f"an array cannot be {' x '.join(map(str, lengths))}")
        return count

    def _nested(self, source: _Plain, count: int, depth: int) -> None:
        for _ in range(count):
            self.elements += 1
            if self.elements > MOST:
                raise Damaged(f"it holds more than {MOST} elements")
            kind, size = self.tag(source)
            if kind != MATRIX or size > source.limit:
                raise Damaged(f"element {kind} with {size} bytes is no array")
            outer, source.limit = source.limit - size, size
            self.matrix(source, depth + 1)
            source.skip(source.limit)
            source.limit = outer
