"""Results that came back from boards: ``result.json`` of a bundle, read and held to its schema."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from edgesr.errors import DataError
from edgesr.schema import find_fault
from edgesr.stored import read_json

SCHEMA_VERSION = 1
ADVICE = "import the result.json that the board wrote, unchanged"


@dataclass(frozen=True)
class BoardResult:
    """One result of one board.

    Attributes:
        name: the file's name, for people to tell results apart.
        content: what the file holds, valid by ``jetson/edgesr_jetson/board/result.schema.json``:
            times in ms, power in mW, energy in mJ; whatever a board could not tell is ``{"absent":
            "why"}``.
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
    return parse_board(path, read_json(path, "the board result", advice=ADVICE))


def parse_board(path: Path, content: Any) -> BoardResult:
    """Hold what a file contains to the schema; see :func:`read_board`."""
    if not isinstance(content, dict) or "schema_version" not in content:
        _refuse(path, "it has no schema_version")
    version = content["schema_version"]
    if version != SCHEMA_VERSION:
        _refuse(path, f"its schema_version is {version!r:.40}, this edgesr reads {SCHEMA_VERSION}")
    fault = find_fault("edgesr_jetson.board", "result.schema.json", content)
    if fault is not None:
        _refuse(path, f"at {fault.place}: {fault.reason}")
    return BoardResult(path.name, content)


def is_absent(value: Any) -> bool:
    """Whether a value is ``{"absent": "why"}``: something that the board could not tell."""
    return isinstance(value, dict) and set(value) == {"absent"}


def _refuse(path: Path, why: str) -> NoReturn:
    raise DataError(f"{path} is no result of a bundle's run.py: {why}; {ADVICE}")
