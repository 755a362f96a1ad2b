"""What the builder is doing, on one line of stderr."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from edgesr_export.tensorrt.api import Api

SECONDS_BETWEEN_LINES = 10.0
"""Where the stream is no terminal, a line appears at most this often."""


class ProgressLine:
    """Counts the phases of a build and writes them; usable from several threads.

    On a terminal one line is rewritten; elsewhere a line appears now and then.
    """

    def __init__(self, title: str, stream: TextIO) -> None:
        self._title = title
        self._stream = stream
        self._rewrites = stream.isatty()
        self._open: dict[str, tuple[int, int]] = {}
        self._began = self._written = time.monotonic()
        self._width = 0

    def start(self, phase: str, steps: int) -> None:
        self._open[phase] = (0, steps)
        self._write()

    def step(self, phase: str, step: int) -> None:
        _, steps = self._open.get(phase, (0, 0))
        self._open[phase] = (step, steps)
        self._write()

    def finish(self, phase: str) -> None:
        self._open.pop(phase, None)
        self._write()

    def close(self) -> None:
        """Clear the line, so that the next writer starts at its beginning."""
        if self._rewrites and self._width:
            self._put("\r" + " " * self._width + "\r")

    def text(self) -> str:
        """The open phases, outermost first, each with its step."""
        phases = list(self._open.items())
        inner = " > ".join(f"{phase} {step}/{steps}" for phase, (step, steps) in phases[:3])
        return f"{self._title}: {inner or 'done'} ({time.monotonic() - self._began:.0f} s)"

    def _write(self) -> None:
        now = time.monotonic()
        if self._rewrites:
            text = self.text()[:100]
            self._put("\r" + text.ljust(self._width))
            self._width = len(text)
        elif now - self._written >= SECONDS_BETWEEN_LINES:
            self._written = now
            self._put(self.text() + "\n")

    def _put(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # a closed pipe must not end a build
            self._rewrites, self._written = False, float("inf")


class Interrupt:
    """A Ctrl-C while the builder ran: it must not travel through C++, so it is kept for later."""

    def __init__(self) -> None:
        self.pressed = False

    def raise_if_pressed(self) -> None:
        if self.pressed:
            raise KeyboardInterrupt


def make_monitor(api: Api, line: ProgressLine, interrupt: Interrupt) -> Any:
    """A progress monitor of the library that writes to ``line`` and stops on Ctrl-C."""
    base: Any = api.module.IProgressMonitor

    class Monitor(base):
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self._do(line.start, name, steps)

        def step_complete(self, name: str, step: int) -> bool:
            self._do(line.step, name, step)
            return not interrupt.pressed

        def phase_finish(self, name: str) -> None:
            self._do(line.finish, name)

        def _do(self, action: Any, *arguments: Any) -> None:
            try:
                action(*arguments)
            except KeyboardInterrupt:
                interrupt.pressed = True

    return Monitor()


def line_on_stderr(title: str) -> ProgressLine:
    """A line on stderr."""
    return ProgressLine(title, sys.stderr)
