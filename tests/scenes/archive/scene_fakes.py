"""Stands for what super-resolves a scene: the source is a text that says what happens.

Workers import it by its name. Every execution leaves a line in the file ``log``.
"""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from edgesr.errors import DataError
from edgesr.files import atomic_path

MODEL = "0" * 64
STRIPS = 3


@dataclass(frozen=True)
class Made:
    """A receipt by another name, as a function of one's own may return it."""

    source: str
    target: str
    pixels: int
    seconds: float
    sha256: str
    version: str = "0"
    model_sha256: str = MODEL
    skipped: bool = False


def expected(text: str) -> bytes:
    """The output of a good scene."""
    return hashlib.sha512(text.encode()).digest() * 100


def executions(log: Path, name: str) -> int:
    """How often the work on a scene has begun."""
    return log.read_text().split().count(name) if log.exists() else 0


def upscale(source, target, options):
    """Super-resolve: the first word of the source says what else happens."""
    path = Path(source)
    with Path(options["log"]).open("a") as log:
        log.write(f"{path.stem}\n")
    tries = executions(Path(options["log"]), path.stem)
    text = path.read_text()
    word = text.split()[0]
    if word == "corrupt":
        raise DataError(f"{path}: cannot be read as a GeoTIFF\n(it is truncated); copy it again")
    if word == "warns":
        warnings.warn("numbers of\nanother kind", stacklevel=1)
    if word == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)
    strips = [*path.parent.glob(f"{path.stem}.strip*")]
    if word == "cut":
        assert len(strips) == STRIPS
    if word == "broken" or (word == "flaky" and tries == 1):
        raise RuntimeError("the weather")
    with atomic_path(Path(target)) as temporary:
        content = expected(text)
        temporary.write_bytes(content[: len(content) // 2])
        if word == "deadly" or (word == "once" and tries == 1):
            time.sleep(0.2)  # Dask takes seconds to replace a worker that dies while it starts
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "stalled" or (word == "slow" and tries == 1):
            threading.Event().wait(60)
        if word == "waits":  # until the test lets it go on
            while not path.with_name("go").exists():
                time.sleep(0.01)
        temporary.write_bytes(content)
    for strip in strips:
        strip.unlink()
    return Made(source, target, 16, 0.5, hashlib.sha256(content).hexdigest())


def cut(source, target, options, pixels):
    """A scene of more letters than that has three strips."""
    return [(k, k + 1) for k in range(STRIPS)] if len(Path(source).read_text()) > pixels else []


def upscale_strip(source, target, options, rows):
    """Make a strip: the word of its number, behind the first, says what happens."""
    path = Path(source)
    name = f"{path.stem}~{rows[0]}"
    with Path(options["log"]).open("a") as log:
        log.write(f"{name}\n")
    tries = executions(Path(options["log"]), name)
    word = path.read_text().split()[1 + rows[0]]
    if word == "corrupt":
        raise DataError(f"{path}: cannot be read there")
    if word == "broken" or (word == "flaky" and tries == 1):
        raise RuntimeError("the weather")
    if word == "once" and tries == 1:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    path.with_name(f"{path.stem}.strip{rows[0]}").touch()
