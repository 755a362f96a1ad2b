"""The folder of an archive while one process is at work in it.

::

    OUT/SCENE.tif ...    outputs, whole or not there
    OUT/archive.json     what became of every scene
    OUT/.receipts/       what is done, see :mod:`edgesr.scenes.archive.receipts`
    OUT/.state/          the lock, and what workers need meanwhile; gone at the end
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from edgesr.errors import OptionError
from edgesr.files import PART
from edgesr.locks import Lock
from edgesr.scenes.archive.jobs import SceneJob
from edgesr.scenes.archive.receipts import FOLDER

STATE = ".state"
WORKERS = "workers"
"""Within the state: what Dask writes."""


def archive_lock(out: Path) -> Lock:
    """The lock of an archive's folder."""
    return Lock(out / STATE / "lock", out)


@contextmanager
def held(out: Path, lock: Lock) -> Iterator[None]:
    """The archive's folder, for this process alone; what is needed meanwhile goes at the end."""
    try:
        lock.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{out} cannot be written: {error.strerror}") from error
    try:
        with lock:
            _clear(lock)  # of a process that was killed
            try:
                yield
            finally:
                _clear(lock)
    finally:
        with suppress(OSError):  # another process is at work
            lock.path.parent.rmdir()


def _clear(lock: Lock) -> None:
    for item in lock.path.parent.iterdir():
        if item != lock.path:
            shutil.rmtree(item, ignore_errors=True)


def remove_parts(out: Path, jobs: Sequence[SceneJob]) -> None:
    """Remove what killed workers have left of outputs that they had begun."""
    names = {Path(job.target).stem for job in jobs}
    for folder in {Path(job.target).parent for job in jobs} | {out / FOLDER}:
        for part in folder.glob(PART):
            found = re.fullmatch(r"\.(.+)\.\d+\.part.*", part.name)
            if found and (found[1] in names or folder.name == FOLDER):
                shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
