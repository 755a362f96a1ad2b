"""Changes of a file's bytes, and of what its JSON says; each follows from the generator alone."""

from __future__ import annotations

import copy
import json
import random
import string
from collections.abc import Iterator
from typing import Any

ODD_BYTES = (
    *(b"\0", b"\xff", b"\0" * 8, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\x80\0\0\0"),
    *(b"[" * 3_000, b"9" * 5_000, b"\n", b'"', b"{", b"NaN", b"1e999", b"-1", "é".encode()),
)
DEEP, LONG = "deep-value", "long-value"
RAW = {f'"{DEEP}"': "[" * 3_000 + "]" * 3_000, f'"{LONG}"': "9" * 5_000}
"""What Python's json does not write: replaced in the text."""
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 3, 10**6, 10**12, 2**63, 10**400, 0.5, -1e300, 5e-324, DEEP, LONG),
    *(float("nan"), float("inf"), "", "\0", "\ud800", "a\nb", "x" * 10_000, "..", "1"),
    *([], {}, [[]], [1], ["x"], {"x": 1}, [None] * 100),
)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Content with one to three changes, most of them near an end, where headers are."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        _change(changed, draw)
    return bytes(changed)


def _change(content: bytearray, draw: random.Random) -> None:
    at = _place(len(content), draw)
    length = 1 + int(draw.expovariate(1 / 16))
    kind = draw.randrange(7)
    if kind == 0 and content:
        content[min(at, len(content) - 1)] ^= 1 << draw.randrange(8)
    elif kind == 1:
        odd = draw.choice(ODD_BYTES)
        content[at : at + len(odd)] = odd
    elif kind == 2:
        content[at:at] = draw.choice(ODD_BYTES)
    elif kind == 3:
        del content[at : at + length]
    elif kind == 4:
        del content[at:]
    elif kind == 5:
        other = _place(len(content), draw)
        content[at:at] = content[other : other + length]
    else:
        content[at : at + length] = draw.randbytes(length)


def _place(length: int, draw: random.Random) -> int:
    if length == 0:
        return 0
    near = min(length, int(length ** draw.random()))
    return draw.choice((near, near, length - near, draw.randrange(length)))


def mutated_text(content: bytes, draw: random.Random) -> bytes:
    """Text with one number or word in it replaced, so that it stays of its kind more often."""
    words = content.split(b" ")
    at = draw.randrange(len(words))
    words[at] = draw.choice((b"", b"-1", b"0", b"9" * 400, b"1e999", b"nan", b"{", b"}", b"=",
                             b"'", b"x" * 3_000, b"\0", "é".encode(), b"\n", b"65536"))  # fmt: skip
    return b" ".join(words)


def mutated_json(content: bytes, draw: random.Random) -> bytes:
    """JSON in which one to three nodes are replaced, left out, added or named otherwise."""
    value = json.loads(content)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        value = _changed(value, draw)
    text = json.dumps(value)
    for word, raw in RAW.items():
        text = text.replace(word, raw)
    return text.encode("utf-8", "surrogatepass")


def _changed(value: Any, draw: random.Random) -> Any:
    paths = list(_paths(value))
    if not paths or draw.random() < 0.02:
        return draw.choice(ODD_VALUES)
    changed = copy.deepcopy(value)
    *path, last = draw.choice(paths)
    place = changed
    for key in path:
        place = place[key]
    kind = draw.randrange(6)
    if kind == 0:
        del place[last]
    elif kind == 1 and isinstance(place, dict):
        name = draw.choice(("", "\0", "x", draw.choice(string.printable) * 300))
        place[name] = place.pop(last)
    elif kind == 2 and isinstance(place, list):
        place.insert(last, copy.deepcopy(place[last]))
    elif kind == 3 and isinstance(place[last], int | float):
        place[last] = draw.choice((-place[last], place[last] + 1, place[last] * 10**6, 0))
    else:
        place[last] = draw.choice(ODD_VALUES)
    return changed


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        entries = enumerate(value)
    for key, inner in entries:
        yield (*path, key)
        yield from _paths(inner, (*path, key))
