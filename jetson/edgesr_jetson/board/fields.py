"""Fields of a manifest, one by one: a value of the kind that is needed, or one line that names it.

Every function raises :class:`BoardError` otherwise.
"""

from __future__ import annotations

import reprlib
from typing import Any

from .errors import BoardError
from .hashes import MANIFEST, Listed


def listed(
    files: dict[str, Listed], stored: dict[str, Any], key: str, expected: str, where: str = ""
) -> Listed:
    """The file that ``stored[key]`` names, which has to be ``expected`` and listed."""
    name = text(stored, key, where)
    if name != expected:
        raise wrong(f"{where}{key}", name, expected)
    if name not in files:
        raise BoardError(f"{MANIFEST} uses {name} and does not list it; make the bundle again")
    return files[name]


def an_object(stored: dict[str, Any], key: str, where: str = "") -> dict[str, Any]:
    """``stored[key]`` as an object."""
    value = stored.get(key)
    if not isinstance(value, dict):
        raise wrong(where + key, value, "an object")
    return value


def items(stored: dict[str, Any], key: str, least: int, most: int, where: str = "") -> list[Any]:
    """``stored[key]`` as a list of ``least`` to ``most``."""
    value = stored.get(key)
    if not isinstance(value, list) or not least <= len(value) <= most:
        count = str(least) if least == most else f"{least} to {most}"
        raise wrong(where + key, value, f"a list of {count}")
    return value


def whole(stored: dict[str, Any], key: str, most: int, where: str = "", least: int = 1) -> int:
    """``stored[key]`` as a whole number from ``least`` to ``most``."""
    value = stored.get(key)
    if type(value) is not int or not least <= value <= most:
        raise wrong(where + key, value, f"a whole number from {least} to {most}")
    return value


def text(stored: dict[str, Any], key: str, where: str) -> str:
    """``stored[key]`` as a text."""
    value = stored.get(key)
    if not isinstance(value, str):
        raise wrong(where + key, value, "a text")
    return value


def number(value: Any) -> float:
    """``value`` as a float; TypeError where it is no number."""
    if type(value) not in (int, float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def wrong(where: str, found: Any, needed: str) -> BoardError:
    """The error of a field that holds ``found`` where ``needed`` belongs."""
    return BoardError(
        f"{MANIFEST} has {reprlib.repr(found)} for {where}; {needed} is needed, make the bundle "
        "again"
    )
