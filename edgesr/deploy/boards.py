"""Boards whose peaks are published: ``boards.toml``, typed."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from edgesr.errors import OptionError
from edgesr.evaluation.roofline import Roof

PRECISIONS = ("fp32", "fp16", "int8")
TERA, GIGA = 1e12, 1e9


@dataclass(frozen=True)
class Board:
    """One board in one power mode.

    Attributes:
        name: for ``--board``.
        label: board and mode, for people.
        roof: its peaks; a precision that it has no faster arithmetic for is missing.
        derived: how the figures follow from the sources, and what is not confirmed.
        sources: addresses.
    """

    name: str
    label: str
    roof: Roof
    derived: str
    sources: tuple[str, ...]


@cache
def boards() -> dict[str, Board]:
    """Every board, by name, in the order of the file."""
    table = tomllib.loads(files("edgesr.deploy").joinpath("boards.toml").read_text("utf-8"))
    return {
        name: Board(
            name,
            f"{entry['board']}, {entry['mode']}",
            Roof(
                {one: TERA * entry[one] for one in PRECISIONS if one in entry},
                GIGA * entry["bandwidth"],
            ),
            entry["derived"],
            tuple(entry["sources"]),
        )
        for name, entry in table.items()
    }


def find_board(name: str) -> Board:
    """The board of that name.

    Raises:
        OptionError: there is none.
    """
    if name not in boards():
        raise OptionError(f"--board is one of {', '.join(boards())}; got {name!r}")
    return boards()[name]
