"""What long work tells on stderr: a moving bar on a terminal, one line a stage elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def tell(text: str) -> None:
    """Say something in one line."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def timed_stage(text: str) -> Iterator[None]:
    """Say that a stage begins, and how long it took."""
    print(f"{text} ...", file=sys.stderr, flush=True)
    started = time.perf_counter()
    yield
    print(f"{text}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)


def track(items: Sequence[T], text: str) -> Iterator[T]:
    """Iterate over ``items`` with a progress bar on stderr."""
    if not sys.stderr.isatty():
        with timed_stage(f"{text} ({len(items)})"):
            yield from items
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, text, console=Console(stderr=True))
