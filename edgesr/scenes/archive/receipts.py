"""What is done, on disk: one small file a scene, written when its output is complete.

::

    OUT/.receipts/SCENE.json     the output is there, and this is what it was made of
    OUT/.receipts/SCENE.begun    the work has begun: what is there may be replaced
    OUT/.receipts/SCENE~3.begun  the same of a strip, from that row of blocks on

Whoever works writes them, client or worker; so neither a dead client nor a dead worker loses what
the other has done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from edgesr.cube.readers import split_spec
from edgesr.errors import DataError
from edgesr.files import atomic_path, file_sha256
from edgesr.scenes.archive.jobs import SceneJob
from edgesr.scenes.archive.model import Done, Stamp
from edgesr.scenes.receipt import Receipt
from edgesr.stored import read_json

FOLDER = ".receipts"
INDIFFERENT = ("threads", "memory")
"""Options that change no pixel."""


@dataclass(frozen=True)
class Receipts:
    """The receipts of an archive.

    Attributes:
        folder: where they are; it exists when the first is written.
        settings: digest of all that decides the pixels, see :func:`settings_digest`.
    """

    folder: Path
    settings: str

    def read(self, job: SceneJob) -> Done | None:
        """The receipt of a scene, whatever it was made with; None where there is none to read."""
        path = self._path(job, "json")
        try:
            return msgspec.convert(read_json(path, "the receipt"), Done) if path.exists() else None
        except (DataError, ValueError):  # msgspec's own, and text beyond Unicode
            return None

    def knows(self, job: SceneJob) -> bool:
        """Whether the work on a scene has ever begun here: its output is ours."""
        return any(self._path(job, suffix).exists() for suffix in ("json", "begun"))

    def holds(self, job: SceneJob, done: Done) -> bool:
        """Whether a scene need not be done again.

        Its receipt is of these settings, its source is unchanged or gone, and its output is as it
        was left: by size and time, or after a copy by its hash.
        """
        if (done.id, done.settings) != (job.id, self.settings):
            return False
        source, output = stamp(split_spec(job.source)[0]), stamp(Path(job.target))
        if source not in (None, done.source) or output is None:
            return False
        if output == done.output:
            return True
        copied = output.bytes == done.output.bytes and Path(job.target).is_file()
        return copied and file_sha256(Path(job.target)) == done.receipt.sha256

    def finished(self, job: SceneJob) -> Done | None:
        """The receipt of a scene, if it need not be done again."""
        done = self.read(job)
        return done if done is not None and self.holds(job, done) else None

    def begin(self, job: SceneJob, reason: str = "") -> None:
        """Say that the work on a scene begins, or why it was ended from outside."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path(job, "json").unlink(missing_ok=True)
        self._path(job, "begun").write_text(reason, "utf-8")

    def reason(self, job: SceneJob) -> str:
        """Why the work on a scene was ended from outside; empty where that is not known."""
        path = self._path(job, "begun")
        return path.read_text("utf-8") if path.is_file() else ""

    def keep(self, job: SceneJob, receipt: Any, told: Sequence[str] = ()) -> Done:
        """Write the receipt of a scene that is done; ``receipt`` has the attributes of one.

        Args:
            job: the scene.
            receipt: what the work returned.
            told: what it has warned of.

        Raises:
            ValidationError: it has not.
            FileNotFoundError: its output is not there.
        """
        output = stamp(Path(job.target))
        if output is None:
            raise FileNotFoundError(f"{job.target} was not written, although the work has ended")
        made = msgspec.convert(receipt, Receipt, from_attributes=True)
        done = Done(
            id=job.id,
            receipt=msgspec.structs.replace(made, seconds=made.seconds + job.spent),
            warnings=list(told),
            settings=self.settings,
            source=stamp(split_spec(job.source)[0]),
            output=output,
        )
        with atomic_path(self._path(job, "json")) as temporary:
            temporary.write_text(json.dumps(done.to_dict()), "utf-8")
        self.end(job)
        return done

    def end(self, job: SceneJob) -> None:
        """Take back :meth:`begin`."""
        self._path(job, "begun").unlink(missing_ok=True)

    def forget(self, job: SceneJob) -> None:
        """The same for a scene that has failed and has left no output, or for a strip of it."""
        if not Path(job.target).exists():
            self.end(job)
            self.end(replace(job, strip=None))

    def _path(self, job: SceneJob, suffix: str) -> Path:
        name = job.id.replace("%", "%25").replace("/", "%2F")
        strip = "" if job.strip is None else f"~{job.strip[0]}"
        return self.folder / f"{name}{strip}.{suffix}"


def settings_digest(options: Mapping[str, Any], model: Path | None, call: str) -> str:
    """Digest of everything that decides the pixels, beside the source itself."""
    deciding = {name: value for name, value in options.items() if name not in INDIFFERENT}
    if model is not None:
        deciding["model"] = file_sha256(model)
    text = json.dumps({"call": call, "options": deciding}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def stamp(path: Path) -> Stamp | None:
    """Size and time of a file, or of everything in a folder; None where there is nothing."""
    try:
        files = [*path.rglob("*")] if path.is_dir() else [path]
        states = [file.stat() for file in files]
    except OSError:
        return None
    if not states:
        return None
    return Stamp(
        bytes=sum(state.st_size for state in states),
        modified_ns=max(state.st_mtime_ns for state in states),
    )
