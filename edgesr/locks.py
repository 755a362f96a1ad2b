"""Locks that keep two processes from writing one output; they vanish with their process."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from edgesr.errors import OptionError

try:
    import fcntl
except ImportError:  # no POSIX: nothing is locked there
    fcntl = None  # type: ignore[assignment]


NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
HOLDER = "process "
"""What a lock's file begins with: it says who holds it."""


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
            file = self._open(os.O_RDWR)
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
                file = self._open(os.O_RDWR | os.O_CREAT)
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
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"{HOLDER}{os.getpid()} on {socket.gethostname()}")
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

    def _open(self, flags: int) -> IO[str]:
        """Open the lock's file, and nothing else that is called so.

        Raises:
            OptionError: it is a link, has another name, or says something else.
        """
        try:
            number = os.open(self.path, flags | NO_LINK, 0o666)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OptionError(
                    f"{self.path} is a link, where a lock belongs; remove it"
                ) from None
            raise
        file = os.fdopen(number, "r+", errors="replace")
        found = os.fstat(number)
        text = file.read(len(HOLDER)) if stat.S_ISREG(found.st_mode) else "?"
        if found.st_nlink > 1 or text not in ("", HOLDER):
            file.close()
            raise OptionError(f"{self.path} is no lock of edgesr, but called as one; move it away")
        file.seek(0)
        return file

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
