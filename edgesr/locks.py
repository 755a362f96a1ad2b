"""Locks that keep two processes from writing one output; they vanish with their process."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from edgesr.errors import OptionError

try:
    import fcntl
except ImportError:  # no POSIX: nothing is locked there
    fcntl = None  # type: ignore[assignment]


class Lock:
    """A file that one process at a time holds; it exists while it is held.

    The system lets go of it when the process ends, however it ends; what the file then still says
    is of no weight.

    Args:
        path: the lock's file, in a folder that exists.
        guarded: what it guards, for people.
    """

    def __init__(self, path: Path, guarded: Path) -> None:
        self.path, self.guarded = path, guarded
        self._file: IO[str] | None = None

    def check(self) -> None:
        """Raise :class:`OptionError` while another process holds it; take nothing."""
        try:
            file = self.path.open("r+")
        except OSError:
            return
        with file:
            self._try(file)

    def take(self) -> None:
        """Hold it until :meth:`release`.

        Raises:
            OptionError: another process holds it, or the file cannot be made.
        """
        while self._file is None:
            try:
                file = self.path.open("a+")
            except OSError as error:
                raise OptionError(
                    f"{self.guarded} cannot be written: {error.strerror or error}; choose another"
                    " --output"
                ) from error
            try:
                self._try(file)
                if self._is_ours(file):
                    self._file = file
            finally:
                if self._file is None:
                    file.close()
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._file.flush()

    def release(self) -> None:
        """Let go of it; it need not be held."""
        if self._file is not None:
            if self._is_ours(self._file):
                self.path.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _try(self, file: IO[str]) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(200) or "another process"
            raise OptionError(
                f"{self.guarded} is being written by {holder}; wait for it, or choose another"
                " --output"
            ) from None
        except OSError:  # a file system without locks
            return

    def _is_ours(self, file: IO[str]) -> bool:
        """Whether the open file is still the one of that name: whoever lets go removes it."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False
