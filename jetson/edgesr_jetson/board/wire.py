"""Protobuf's wire format, read without protobuf."""

from __future__ import annotations

from typing import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def text(message: memoryview, wanted: int) -> str:
    """The last text of that number; empty where there is none."""
    texts = [bytes(value).decode() for value in messages(message, wanted)]
    return texts[-1] if texts else ""


def messages(message: memoryview, *wanted: int) -> Iterator[memoryview]:
    """Content of every field of those numbers: messages, texts or bytes."""
    for number, value in fields(message):
        if number in wanted and not isinstance(value, int):
            yield value


def fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and content of every field of a message; numbers of fixed width are skipped.

    Raises:
        ValueError, IndexError: no message of protobuf.
    """
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(message, position)
            yield key >> 3, value
        elif kind == _BYTES:
            length, position = _varint(message, position)
            if position + length > end:
                raise ValueError("it ends too early")
            yield key >> 3, message[position : position + length]
            position += length
        elif kind in (_FIXED32, _FIXED64):
            position += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError("no protobuf message")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("no protobuf message")
