"""Results that came back from boards: ``result.json`` of a bundle, read and held to its schema."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from edgesr.errors import DataError

SCHEMA_VERSION = 1
LARGEST = 64 * 2**20
"""Bytes of a result that is still read; a real one has some ten thousand."""


@dataclass(frozen=True)
class BoardResult:
    """One result of one board.

    Attributes:
        name: the file's name, for people to tell results apart.
        content: what the file holds, valid by ``jetson/board/result.schema.json``: times in ms,
            power in mW, energy in mJ; whatever a board could not tell is ``{"absent": "why"}``.
    """

    name: str
    content: dict[str, Any]


def read_boards(paths: Iterable[Path]) -> list[BoardResult]:
    """Read several results in the order given; see :func:`read_board`."""
    return [read_board(path) for path in paths]


def read_board(path: Path) -> BoardResult:
    """Read one result that ``run.py`` of a bundle wrote.

    A run that failed on the board (``"ok": false``) is a valid result: what it says is shown.

    Raises:
        DataError: the file is missing, too large, no JSON, or does not fit the schema.
    """
    try:
        if path.stat().st_size > LARGEST:
            _refuse(path, f"it has more than {LARGEST // 2**20} MB")
        content = json.loads(path.read_bytes(), parse_constant=_not_a_number, parse_float=_finite)
    except OSError as error:
        raise DataError(f"cannot read the board result {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        _refuse(path, f"it is not valid JSON: {error}")
    if not isinstance(content, dict) or "schema_version" not in content:
        _refuse(path, "it has no schema_version")
    version = content["schema_version"]
    if version != SCHEMA_VERSION:
        _refuse(path, f"its schema_version is {version!r:.40}, this edgesr reads {SCHEMA_VERSION}")
    from jsonschema.exceptions import best_match

    fault = best_match(_validator().iter_errors(content))
    if fault is not None:
        place = fault.json_path.removeprefix("$.").replace("$", "the top")
        _refuse(path, f"at {place:.120}: {_short(fault.message)}")
    return BoardResult(path.name, content)


def is_absent(value: Any) -> bool:
    """Whether a value is ``{"absent": "why"}``: something that the board could not tell."""
    return isinstance(value, dict) and set(value) == {"absent"}


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    schema = files("jetson.board").joinpath("result.schema.json").read_text("utf-8")
    return Draft202012Validator(json.loads(schema))


def _refuse(path: Path, why: str) -> NoReturn:
    raise DataError(
        f"{path} is no result of a bundle's run.py: {why}; import the result.json that the board"
        " wrote, unchanged"
    )


def _not_a_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _not_a_number(digits)


def _short(message: str, limit: int = 160) -> str:
    return message if len(message) <= limit else f"...{message[-limit:]}"
