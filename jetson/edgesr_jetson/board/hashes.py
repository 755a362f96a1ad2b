"""Is the bundle the one that left the desktop? Every file is held against ``manifest.json``."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Collection, Iterable, Iterator

from .errors import BoardError

MANIFEST = "manifest.json"

_OWN = re.compile(
    r"[^/]+\.json(\.\d+\.part)?|results/.+|engines/[^/]+\.(engine|json|cache)(\.\d+\.part)?"
)
_AGAIN = "copy the bundle to the board again"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Listed:
    """A file of the bundle, and what the manifest says of it.

    Attributes:
        name: relative to the bundle, with slashes.
        path: where it lies.
        sha256: hexadecimal.
        size: in bytes.
    """

    name: str
    path: Path
    sha256: str
    size: int

    def problem(self) -> str | None:
        """Say how the file differs from the manifest, without holding it in memory."""
        digest = hashlib.sha256()
        return self._compare(digest.update) or self._hash_problem(digest.hexdigest())

    def read(self) -> bytes:
        """Content: the very bytes that were held against the manifest.

        Raises:
            BoardError: the file was changed since the bundle was verified.
        """
        blocks: list[bytes] = []
        problem = self._compare(blocks.append)
        content = b"".join(blocks)
        problem = problem or self._hash_problem(hashlib.sha256(content).hexdigest())
        _refuse(problem)
        return content

    def require(self) -> None:
        """Raise :class:`BoardError` where there is a :meth:`problem`."""
        _refuse(self.problem())

    def _compare(self, take: Callable[[bytes], object]) -> str | None:
        """Hand the content over by blocks; returns what is wrong with kind and size."""
        try:
            status = self.path.lstat()
            if not stat.S_ISREG(status.st_mode):
                return f"{self.name} is no regular file"
            if status.st_size != self.size:
                return f"{self.name} has {status.st_size} bytes, the manifest says {self.size}"
            with self.path.open("rb") as stream:
                for block in iter(lambda: stream.read(_BLOCK), b""):
                    take(block)
        except OSError as error:
            return f"{self.name} cannot be read ({error.strerror})"
        return None

    def _hash_problem(self, found: str) -> str | None:
        if found == self.sha256:
            return None
        return f"{self.name} has SHA-256 {found[:12]}..., the manifest says {self.sha256[:12]}..."


def _refuse(problem: str | None) -> None:
    if problem:
        raise BoardError(f"the bundle is damaged or was changed: {problem}; {_AGAIN}")


def verify(folder: Path, files: Iterable[Listed]) -> None:
    """Compare every listed file with its size and SHA-256, and refuse whatever else is there.

    Only what runs write may lie beside the listed files, see :func:`is_own`.

    This finds damage and careless changes. Who changes the manifest, too, is found by comparing
    the bundle's identity with the one of the desktop (``--bundle-id``).

    Raises:
        BoardError: a file is missing, changed, a link, or not listed; the message names the first
            and counts the rest.
    """
    listed = sorted(files, key=lambda file: file.name)
    problems = [problem for file in listed for problem in [file.problem()] if problem]
    strays = list(_strays(folder, {file.name for file in listed}))
    if problems or strays:
        first = (problems + strays)[0]
        count = len(problems) + len(strays) - 1
        more = f" (and {count} more)" if count else ""
        advice = _AGAIN if problems else f"move what is yours out of its folder, or {_AGAIN}"
        raise BoardError(f"the bundle is damaged or was changed: {first}{more}; {advice}")


def is_own(name: str) -> bool:
    """Whether a file of this name is an output, which may lie in a bundle and is never imported.

    ``*.json`` beside ``run.py``, anything in ``results/``, and what :mod:`trt_cache` keeps in
    ``engines/``.
    """
    return _OWN.fullmatch(name) is not None


def _strays(folder: Path, listed: Collection[str]) -> Iterator[str]:
    pending = [""]
    while pending:
        room = pending.pop()
        try:
            entries = sorted(os.scandir(folder / room), key=lambda entry: entry.name)
        except OSError as error:
            yield f"{_shown(room)} cannot be read ({error.strerror})"
            continue
        for entry in entries:
            name = room + entry.name
            if entry.is_symlink():
                yield f"{_shown(name)} is a link"
            elif entry.is_dir(follow_symlinks=False):
                pending.append(name + "/")
            elif not entry.is_file(follow_symlinks=False):
                yield f"{_shown(name)} is no regular file"
            elif name not in listed and name != MANIFEST and not is_own(name):
                yield f"{_shown(name)} is not listed in {MANIFEST}"


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)
