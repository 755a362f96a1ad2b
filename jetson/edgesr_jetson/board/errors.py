"""The one error of this folder, and how a missing thing is written down."""

from __future__ import annotations

from typing import Any


class BoardError(Exception):
    """Something the user can mend; the message is one line that says what to do."""

    exit_code = 2


def absent(reason: str) -> dict[str, str]:
    """Say that a figure or fact could not be had, and why; never a guess, never fatal."""
    return {"absent": reason}


def is_absent(value: Any) -> bool:
    """Whether ``value`` is what :func:`absent` wrote."""
    return isinstance(value, dict) and set(value) == {"absent"}


def printable(text: object) -> str:
    """All of ``text`` in one line, without what would steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def one_line(error: object, limit: int = 300) -> str:
    """First line of ``error`` that says something; a long one loses its middle.

    Libraries put their names in front and the reason at the end.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= limit else f"{text[: limit // 3]} ... {text[-limit * 2 // 3 :]}"
