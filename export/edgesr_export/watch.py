"""What long work passes its items through, so that somebody may see how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Watch = Callable[[Sequence[Any], str], Iterable[Any]]
"""Passes on what is worked through, and shows how far the work with this name is."""


def unwatched(items: Sequence[Any], text: str) -> Iterable[Any]:
    """Shows nothing."""
    return items
