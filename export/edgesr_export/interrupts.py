"""Ctrl-C: always the end of the work, and never in the middle of other people's code.

Python raises KeyboardInterrupt wherever it happens to be. Within ``torch.export`` or a writer in
C++ it is swallowed, becomes another error, or aborts the process: there it is :func:`held`. What
swallows it elsewhere does so for a moment: who :func:`noted` it stops at the next
:func:`stop_if_pressed`.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Presses:
    """How often Ctrl-C was pressed within a block."""

    def __init__(self) -> None:
        self.count = 0


_noted: list[Presses] = []


def stop_if_pressed() -> None:
    """Stop where a Ctrl-C was noted that somebody has swallowed.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed within :func:`noted`.
    """
    if _noted and _noted[-1].count:
        raise KeyboardInterrupt


@contextmanager
def noted() -> Iterator[Presses]:
    """Count every Ctrl-C within the block, which raises KeyboardInterrupt as ever.

    A destructor or a callback of C cannot raise: Python then prints what it swallows, in several
    lines. Here it prints nothing of a KeyboardInterrupt, since that is not lost.
    """
    presses, show = Presses(), sys.unraisablehook

    def press(number: int, frame: FrameType | None) -> None:
        presses.count += 1
        signal.default_int_handler(number, frame)

    def show_others(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            show(unraisable)

    _noted.append(presses)
    sys.unraisablehook = show_others
    try:
        with _handled_by(press):
            yield presses
    finally:
        sys.unraisablehook = show
        _noted.remove(presses)


@contextmanager
def held() -> Iterator[None]:
    """Keep a Ctrl-C until the block is left, by whatever way; a second one stops at once.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed within the block.
    """
    presses, before = Presses(), signal.getsignal(signal.SIGINT)

    def press(number: int, frame: FrameType | None) -> None:
        presses.count += 1
        if presses.count > 1 and callable(before):
            before(number, frame)

    try:
        with _handled_by(press):
            yield
    finally:
        if presses.count == 1:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def _handled_by(press: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Ctrl-C calls ``press`` within the block; left alone where it is ignored or not Python's."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
