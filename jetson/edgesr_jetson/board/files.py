"""Write files so that no reader ever sees half of one; read small ones that may not be there."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from .errors import BoardError


def write_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path`` and rename it into place.

    Raises:
        BoardError: a full disk, a read-only or a missing folder; nothing is left behind.
    """
    temporary = part_of(path)
    try:
        with open_new(temporary) as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise BoardError(
            f"{path} cannot be written ({error.strerror or error}); free some space, or choose "
            "another place with --output and --engines"
        ) from error
    finally:
        discard(temporary)


def part_of(path: Path) -> Path:
    """Where ``path`` is written before it has its name."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def open_new(path: Path, buffering: int = -1) -> IO[bytes]:
    """Open a file that is not there yet for writing; a link in its place is not followed."""
    discard(path)
    return path.open("xb", buffering)


def read_regular(path: Path, largest: int) -> bytes:
    """Content of a file; OSError for a link, a pipe, a device, or more than ``largest`` bytes."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > largest:
        raise OSError(0, f"no regular file of at most {largest} bytes")
    return path.read_bytes()


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write ``document`` as JSON; a figure that is not finite is a bug and raises ValueError."""
    text = json.dumps(document, indent=2, sort_keys=False, allow_nan=False)
    write_atomic(path, text.encode() + b"\n")


def read_text(path: Path) -> str | None:
    """Text of a small file such as one of /sys, without NULs and outer blanks; None if unreadable.

    Sensors that are switched off answer with an error of the driver rather than with a number.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \t\r\n")
    except OSError:
        return None


def read_number(path: Path) -> int | None:
    """Integer in a file of /sys; None where the file is unreadable or holds something else."""
    text = read_text(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def discard(path: Path) -> None:
    """Remove a file if it can be removed."""
    with suppress(OSError):
        path.unlink()
