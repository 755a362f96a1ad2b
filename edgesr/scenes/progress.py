"""How far work on scenes is: a bar on a terminal, else a line now and then, with what is left."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from edgesr.progress import log, shows_bars
from edgesr.report.wording import duration, quantity

EVERY = 10.0
"""Seconds between two lines."""


class Telling(ABC):
    """Tells of so many pieces of work, one after the other.

    Args:
        total: pieces that are to be done.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._pixels = 0
        self._began = self._told = time.monotonic()
        self._stack = ExitStack()
        self._show: Callable[[], object] | None = None

    def __enter__(self) -> Self:
        if shows_bars():
            from rich.console import Console
            from rich.progress import Progress as Bar

            bar = self._stack.enter_context(Bar(console=Console(stderr=True)))
            task = bar.add_task(self.line(), total=self._total)
            self._show = lambda: bar.update(task, advance=1, description=self.line())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        log(self.line())

    @abstractmethod
    def line(self) -> str:
        """What is told."""

    def tell(self) -> None:
        """Say how far it is, if it is time; once for each piece."""
        if self._show is not None:
            self._show()
        elif time.monotonic() - self._told > EVERY:
            self._told = time.monotonic()
            log(self.line())

    def rate_and_rest(self, ended: int) -> list[str]:
        """Pixels a second, and how long the pieces take that have not ended."""
        passed = max(time.monotonic() - self._began, 1e-9)
        parts = []
        if self._pixels:
            parts.append(f"{quantity(round(self._pixels / passed))} pixels/s")
        if 0 < ended < self._total:
            parts.append(f"{duration(passed / ended * (self._total - ended))} left")
        return parts


class Progress(Telling):
    """Tells of the blocks of one scene.

    Args:
        what: is done.
        total: blocks that are to be done.
    """

    def __init__(self, what: str, total: int) -> None:
        super().__init__(total)
        self._what = what

    def add(self, pixels: int) -> None:
        """Count a block."""
        self._done += 1
        self._pixels += pixels
        self.tell()

    def line(self) -> str:
        """``super-resolve scene: 12 of 300 blocks, 3.400 M pixels/s, 1 h 20 min left``."""
        first = f"{self._what}: {self._done} of {self._total} blocks"
        return ", ".join([first, *self.rate_and_rest(self._done)])
