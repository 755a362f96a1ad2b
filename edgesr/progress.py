"""What long work tells: lines of the logger ``edgesr``, and on a terminal a moving bar.

A library says nothing unless it is asked: ``logging.basicConfig(level="INFO")`` shows the lines.
The command line shows them on stderr (:mod:`edgesr.cli.logs`). A stage's records carry ``event``
("start" or "end"), ``stage`` and, at its end, ``seconds``.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from edgesr_export.interrupts import stop_if_pressed

T = TypeVar("T")
LOGGER = logging.getLogger("edgesr")


def log(text: str) -> None:
    """Say something in one line; a moment to heed a Ctrl-C that somebody swallowed."""
    stop_if_pressed()
    LOGGER.info(text)


def shows_bars() -> bool:
    """Whether somebody looks at stderr who wants to know how far the work is."""
    return LOGGER.isEnabledFor(logging.INFO) and sys.stderr.isatty()


@contextmanager
def timed_stage(text: str) -> Iterator[None]:
    """Say that a stage begins, and how long it took; both are moments for a Ctrl-C, too."""
    stop_if_pressed()
    LOGGER.info(f"{text} ...", extra={"event": "start", "stage": text})
    started = time.perf_counter()
    yield
    stop_if_pressed()
    seconds = round(time.perf_counter() - started, 3)
    end = {"event": "end", "stage": text, "seconds": seconds}
    LOGGER.info(f"{text}: {seconds:.1f} s", extra=end)


@contextmanager
def counted(total: int, text: str) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr over work of ``total`` steps; call what is given after each."""
    if not shows_bars():
        with timed_stage(text):
            yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(text, total=total)
        yield lambda: progress.advance(task)


def track(items: Sequence[T], text: str) -> Iterator[T]:
    """Iterate over ``items`` with a progress bar on stderr."""
    if not shows_bars():
        with timed_stage(f"{text} ({len(items)})"):
            yield from items
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, text, console=Console(stderr=True))
