"""Stdout and stderr that are closed, full or in ASCII: no reason to lose the work.

What a command prints on stdout is its result: where that cannot be written, the command says so
when its work is done. Lines on stderr that cannot be written are left out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


class StdoutError(Exception):
    """Stdout does not take what a command prints; its cause is the OSError."""


@contextmanager
def standard_streams() -> Iterator[None]:
    """Make the streams safe within the block; at its end all of stdout is written.

    Raises:
        StdoutError: stdout could not be written.
    """
    _open_closed()
    before = sys.stdout, sys.stderr
    streams = [stream or open(os.devnull, "w") for stream in before]  # noqa: PTH123, SIM115
    for stream in streams:
        with suppress(AttributeError, ValueError):  # a stream of another kind takes all, or is gone
            cast(Any, stream).reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = cast(TextIO, _Results(streams[0])), cast(TextIO, _Messages(streams[1]))
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    finally:
        sys.stdout, sys.stderr = before


def _open_closed() -> None:
    """Open the null device as stdin, stdout and stderr where they are closed.

    Else the next file that is opened gets that number, and what a library prints goes into it.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)


class _Stream:
    """A stream, but for what happens where it cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self.fail(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self.fail(error)

    def fail(self, error: OSError) -> None:
        """Deal with an error of the stream."""


class _Messages(_Stream):
    """Stderr: what it does not take is left out."""


class _Results(_Stream):
    """Stdout: what it does not take is an error, once; what is left of it is given up."""

    def fail(self, error: OSError) -> None:
        with suppress(OSError, ValueError):  # Python, too, writes the rest when it ends
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
        raise StdoutError from error
