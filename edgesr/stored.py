"""Read the files that edgesr writes itself, whatever has become of them.

A recipe, a report or the state of a run may come from somebody else, or be what a full disk left.
Each fault ends in one line; what is returned is bounded in depth and in its whole numbers, so that
it can be walked, compared and printed.
"""

from __future__ import annotations

import json
import math
import stat
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Protocol, Union, get_args, get_origin, get_type_hints

from edgesr.errors import DataError, EdgesrError, shown

LARGEST = 64 * 2**20
"""Bytes of a file that is still read; a real one has less than a hundredth of that."""

DEEPEST = 64
"""Lists and dictionaries inside each other; what edgesr writes has about ten."""

WIDEST = 2**64
"""No whole number that edgesr writes is as large."""


def read_json(
    path: Path,
    what: str,
    error: type[EdgesrError] = DataError,
    *,
    advice: str = "",
    finite: bool = True,
) -> Any:
    """Read a JSON file of edgesr's own.

    Args:
        path: the file.
        what: it is, for the message, such as "the report".
        error: the error to raise.
        advice: what to do where it cannot be read.
        finite: refuse ``NaN`` and ``Infinity``, which Python writes although JSON has them not.
    """
    return _read(path, what, error, advice, lambda content: parse_json(content, finite=finite))


def read_toml(path: Path, what: str, error: type[EdgesrError] = DataError) -> dict[str, Any]:
    """Read a TOML file of edgesr's own; see :func:`read_json`."""
    return dict(_read(path, what, error, "", _parse_toml))


def require_file(path: Path) -> int:
    """Bytes of a file that can be read to its end: no folder, and no pipe to wait at.

    Raises:
        OSError: there is nothing, or it may not be seen.
        ValueError: it is something else, or its name holds a null character.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"it is {'a folder' if stat.S_ISDIR(found.st_mode) else 'no plain file'}")
    return found.st_size


def parse_json(content: str | bytes, *, finite: bool = True) -> Any:
    """Parse JSON; ValueError, of one line, for what is none or beyond all bounds."""
    try:
        value = json.loads(content)
    except RecursionError:
        raise ValueError(_too_deep()) from None
    except ValueError as error:
        raise ValueError(f"it is not valid JSON: {error}") from error
    _check(value, finite)
    return value


class Remember(Protocol):
    """Keeps what a stage has found, so that an interrupted run goes on where it was."""

    def __call__(
        self,
        name: str,
        compute: Callable[[], Any],
        kind: Any = ...,
        holds: Callable[[Any], bool] = ...,
    ) -> Any:
        """What was kept as ``name``, as ``kind`` and if it ``holds``; else what is computed."""


def at_once(
    name: str,
    compute: Callable[[], Any],
    kind: Any = Any,
    holds: Callable[[Any], bool] = lambda _: True,
) -> Any:
    """Keep nothing: for a stage that is called by itself."""
    return typed(kind, compute())


def typed(kind: Any, value: Any, place: str = "it") -> Any:
    """Turn plain values, as JSON has them, into what a type says.

    Args:
        kind: a dataclass, ``list[...]``, ``dict[str, ...]``, ``tuple[...]`` of fixed length, a
            union of those, ``str``, ``int``, ``float``, ``bool``, ``None`` or ``Any``.
        value: what was read.
        place: of the value, for the message.

    Raises:
        ValueError: the value is something else.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        for one in inner:
            with suppress(ValueError):
                return typed(one, value, place)
    elif is_dataclass(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        needed = {
            field.name
            for field in fields(kind)
            if field.default is MISSING and field.default_factory is MISSING
        }
        if needed <= value.keys() <= hints.keys():
            found = {name: typed(hints[name], v, f"{place}.{name}") for name, v in value.items()}
            return kind(**found)  # type: ignore[operator]
    elif origin is list and isinstance(value, list):
        return [typed(inner[0], one, f"{place}[{i}]") for i, one in enumerate(value)]
    elif origin is tuple and isinstance(value, list | tuple) and len(value) == len(inner):
        pairs = zip(inner, value, strict=True)
        return tuple(typed(one, v, f"{place}[{i}]") for i, (one, v) in enumerate(pairs))
    elif origin is dict and isinstance(value, dict):
        return {key: typed(inner[1], one, f"{place}[{key!r:.40}]") for key, one in value.items()}
    elif isinstance(value, bool):
        if kind is bool:
            return value
    elif kind is float and isinstance(value, int | float):
        return float(value)
    elif kind in (int, str, NoneType) and isinstance(value, kind):
        return value
    name = kind.__name__ if isinstance(kind, type) and not inner else str(kind)
    raise ValueError(f"{place} is {value!r:.60} where {name} is expected")


def _read(
    path: Path,
    what: str,
    error: type[EdgesrError],
    advice: str,
    parse: Callable[[bytes], Any],
) -> Any:
    try:
        return parse(_content(path))
    except (OSError, ValueError) as fault:
        reason = " ".join(str(getattr(fault, "strerror", None) or fault).split())
        then = f"; {advice}" if advice else ""
        raise error(f"cannot read {what} {shown(path)}: {reason}{then}") from fault


def _content(path: Path) -> bytes:
    if require_file(path) > LARGEST:
        raise ValueError(f"it has more than {LARGEST // 2**20} MB")
    return path.read_bytes()


def _parse_toml(content: bytes) -> dict[str, Any]:
    try:
        value = tomllib.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError(_too_deep()) from None
    except ValueError as error:
        raise ValueError(f"it is not valid TOML: {error}") from error
    _check(value, finite=False)  # options say themselves what has to be finite
    return value


def _check(value: Any, finite: bool) -> None:
    level = [value]
    for _ in range(DEEPEST):
        deeper: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                deeper += one.values()
            elif isinstance(one, list):
                deeper += one
            elif isinstance(one, int) and abs(one) >= WIDEST:
                raise ValueError("it holds a whole number of more than 64 bits")
            elif finite and isinstance(one, float) and not math.isfinite(one):
                raise ValueError(f"it holds {one}, which is no JSON number")
        if not deeper:
            return
        level = deeper
    raise ValueError(_too_deep())


def _too_deep() -> str:
    return f"its values are nested more than {DEEPEST} deep"
