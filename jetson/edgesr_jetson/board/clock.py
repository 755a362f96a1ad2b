"""Time, and how the threads of a pipeline wait for each other.

All of them share one condition, so that a clock of a test can know when nobody has anything to do.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import Callable, Generic, TypeVar

Item = TypeVar("Item")


class Clock:
    """Real time.

    Attributes:
        changed: held while shared state is looked at or changed, and by whoever waits.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def processor(self) -> float:
        """Seconds that the cores spent on this process, divided by how many it may use."""
        usable = getattr(os, "sched_getaffinity", None)
        cores = len(usable(0)) if usable is not None else os.cpu_count() or 1
        return time.process_time() / cores

    def wait(self, until: float | None = None) -> None:
        """Wait for a change, with ``changed`` held; not longer than ``until``, perhaps less."""
        self.changed.wait(None if until is None else max(0.0, until - self.now()))

    def tell(self) -> None:
        """Wake whoever waits, with ``changed`` held."""
        self.changed.notify_all()

    def start(self, work: Callable[[], None], name: str) -> threading.Thread:
        """Run ``work`` in a thread."""
        thread = threading.Thread(target=work, name=name)
        thread.start()
        return thread

    def join(self, thread: threading.Thread) -> None:
        """Wait for the end of a thread of :meth:`start`."""
        thread.join()


class Channel(Generic[Item]):
    """A queue of at most ``size`` items between two threads, which count what they waited for it.

    Attributes:
        put_waited: seconds that its writer waited for room.
        get_waited: seconds that its reader waited for an item.
    """

    def __init__(self, clock: Clock, size: int) -> None:
        self.put_waited = self.get_waited = 0.0
        self._clock, self._size = clock, size
        self._items: deque[Item] = deque()
        self._is_closed = False

    def put(self, item: Item) -> bool:
        """Wait for room and append; False where the channel was closed."""
        with self._clock.changed:
            start = self._clock.now()
            try:
                self._wait_until(lambda: len(self._items) < self._size)
            finally:  # Ctrl-C ends a wait, too
                self.put_waited += self._clock.now() - start
            if self._is_closed:
                return False
            self._items.append(item)
            self._clock.tell()
            return True

    def get(self) -> Item | None:
        """Wait for an item and take it; None where the channel was closed and is empty."""
        with self._clock.changed:
            start = self._clock.now()
            try:
                self._wait_until(lambda: len(self._items) > 0)
            finally:
                self.get_waited += self._clock.now() - start
            return self._take()

    def get_now(self) -> Item | None:
        """Take an item if there is one."""
        with self._clock.changed:
            return self._take()

    def close(self, empty: bool = False) -> None:
        """Let nothing more in; ``empty`` throws away what is there."""
        with self._clock.changed:
            self._is_closed = True
            if empty:
                self._items.clear()
            self._clock.tell()

    def _take(self) -> Item | None:
        if not self._items:
            return None
        item = self._items.popleft()
        self._clock.tell()
        return item

    def _wait_until(self, is_ready: Callable[[], bool]) -> None:
        while not is_ready() and not self._is_closed:
            self._clock.wait()
