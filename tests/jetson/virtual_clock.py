"""A clock whose time passes when every thread of it waits: real threads, exact times."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edgesr_jetson.board.clock import Clock


class VirtualClock(Clock):
    """Time stands still while a thread has something to do, then jumps to the next appointment.

    The thread that made it is one of its threads; so are those of :meth:`start`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._threads = {threading.get_ident()}
        self._waiting: dict[int, float | None] = {}
        self._turn = 0

    def now(self) -> float:
        return self._now

    def processor(self) -> float:
        return 0.0

    def wait(self, until: float | None = None) -> None:
        if until is not None and until <= self._now:
            return
        turn, me = self._turn, threading.get_ident()
        self._waiting[me] = until
        self._jump()
        while turn == self._turn:
            assert self.changed.wait(timeout=30), "every thread waits for ever"

    def tell(self) -> None:
        self._turn += 1
        self._waiting.clear()
        self.changed.notify_all()

    def sleep(self, seconds: float) -> None:
        """Let time pass: work of a thread."""
        with self.changed:
            until = self._now + seconds
            while self._now < until:
                self.wait(until)

    def start(self, work: Callable[[], None], name: str) -> threading.Thread:
        begun = threading.Event()

        def run() -> None:
            with self.changed:
                self._threads.add(threading.get_ident())
            begun.set()
            try:
                work()
            finally:
                with self.changed:
                    self._threads.discard(threading.get_ident())
                    self.tell()

        thread = super().start(run, name)
        begun.wait()
        return thread

    def join(self, thread: threading.Thread) -> None:
        with self.changed:
            while thread.ident in self._threads:
                self.wait()
        super().join(thread)

    def _jump(self) -> None:
        appointments = [until for until in self._waiting.values() if until is not None]
        if len(self._waiting) == len(self._threads) and appointments:
            self._now = min(appointments)
            self.tell()
