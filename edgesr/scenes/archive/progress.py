"""How far an archive is: failures at once, and now and then a line, or on a terminal a bar."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from edgesr.errors import shown
from edgesr.progress import LOGGER, log, shows_bars
from edgesr.report.wording import duration, plural, quantity
from edgesr.scenes.archive.model import Done
from edgesr.scenes.archive.work import Outcome

EVERY = 10.0
"""Seconds between two lines."""


class Progress:
    """Tells of the scenes of one call.

    Args:
        total: scenes that are to be done.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._failed = self._pixels = 0
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

    def add(self, outcome: Outcome) -> None:
        """Count a scene."""
        if isinstance(outcome, Done):
            self._done += 1
            self._pixels += outcome.receipt.pixels
        else:
            self._failed += 1
            LOGGER.warning(f"{shown(outcome.id)} failed: {shown(outcome.reason)}")
        if self._show is not None:
            self._show()
        elif time.monotonic() - self._told > EVERY:
            self._told = time.monotonic()
            log(self.line())

    def line(self) -> str:
        """``12 of 300 scenes, 3.400 M pixels/s, 1 h 20 min left, 1 failed``."""
        passed = max(time.monotonic() - self._began, 1e-9)
        ended = self._done + self._failed
        parts = [f"{self._done} of {plural(self._total, 'scene')}"]
        if self._pixels:
            parts.append(f"{quantity(round(self._pixels / passed))} pixels/s")
        if ended and ended < self._total:
            parts.append(f"{duration(passed / ended * (self._total - ended))} left")
        if self._failed:
            parts.append(f"{self._failed} failed")
        return ", ".join(parts)
