"""Writing files so that no reader ever sees half of one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".*.part*"
"""Pattern of the temporary names."""


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; rename it to ``target`` when the block succeeds.

    The temporary name keeps the suffix of ``target``, since many writers choose the format by it.
    When the block raises, the temporary file is removed and ``target`` stays as it was.
    """
    temporary = temporary_path(target)
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_path(target: Path) -> Path:
    """The name beside ``target`` that its content has until it is complete."""
    return target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
