"""An archive from its jobs to ``archive.json``: what is there is left, the rest is done."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from edgesr import __version__
from edgesr.cube.parts import cube_files
from edgesr.cube.readers import split_spec
from edgesr.cube.writers import written_files
from edgesr.errors import DataError, OptionError
from edgesr.files import PART, atomic_path
from edgesr.locks import Lock
from edgesr.outputs import check_folder, check_outputs
from edgesr.progress import LOGGER, log
from edgesr.scenes.archive.engines import Engine, Unfinished
from edgesr.scenes.archive.jobs import SceneJob, examples
from edgesr.scenes.archive.model import Archive, Done, Failure
from edgesr.scenes.archive.progress import Progress
from edgesr.scenes.archive.receipts import FOLDER, Receipts, settings_digest
from edgesr.scenes.archive.work import UPSCALE, Outcome, Work, function_of

FILE = "archive.json"
STATE = ".state"
SHARE = 0.02
"""Of the time, at most, in which ``archive.json`` is written anew while scenes are done."""


def run_archive(
    jobs: Sequence[SceneJob],
    out: Path,
    engine: Engine,
    *,
    model: Path | None = None,
    call: str = UPSCALE,
    retries: int = 2,
    timeout: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Archive:
    """Do every job that is not done yet; called again, it goes on.

    Args:
        jobs: what :func:`~edgesr.scenes.archive.jobs.make_jobs` made for ``out``.
        out: the archive's folder.
        engine: where scenes are done.
        model: the model file, whose content belongs to what decides the pixels.
        call: the function that super-resolves a scene, see
            :class:`~edgesr.scenes.archive.work.Work`.
        retries: how often a scene is tried again that failed for no reason of its own.
        timeout: seconds for one attempt at a scene.
        resume: refuse a folder that holds no archive.
        overwrite: replace outputs that are something else, or of other settings.

    Returns:
        What ``out/archive.json`` holds: scenes that could not be done are among ``failed``.

    Raises:
        OptionError: an output exists, is an input, or was made with other settings; a source does
            not exist; ``out`` cannot be written, or another process writes it.
        Unfinished: the disk is full, or the scheduler has ended.
    """
    function_of(call)
    options = jobs[0].options if jobs else {}
    receipts = Receipts(out.absolute() / FOLDER, settings_digest(options, model, call))
    work = Work(call, receipts, timeout)
    check_folder(out)
    lock = Lock(out / STATE / "lock", out)
    lock.check()
    if resume and not receipts.folder.is_dir():
        raise OptionError(f"there is no archive in {out}; leave out --resume, or correct the name")
    todo = _Todo.of(jobs, receipts)
    _check_sources(todo.jobs)
    _check_outputs(todo.jobs, receipts, model, overwrite)
    with _held(out, lock):
        _remove_parts(out, jobs)
        receipts.folder.mkdir(exist_ok=True)
        tally = _Tally(out / FILE, jobs, engine.title, model, todo.done)
        try:
            _do(todo.jobs, work, engine, retries, tally)
        finally:
            _remove_parts(out, jobs)
            tally.write()
    return tally.archive()


def _do(
    jobs: Sequence[SceneJob], work: Work, engine: Engine, retries: int, tally: _Tally
) -> None:
    """Do what is left.

    Raises:
        Unfinished: the disk is full: the other scenes would fail, too.
    """
    if not jobs:
        return
    with Progress(len(jobs)) as progress:
        for job, outcome in engine.run(work, iter(jobs), retries):
            tally.add(outcome)
            progress.add(outcome)
            if isinstance(outcome, Failure):
                work.receipts.forget(job)
                if outcome.kind == "full":
                    raise Unfinished(
                        f"{job.id}: {outcome.reason}; what is done stays: free some space, and go"
                        " on with the same command"
                    )


@dataclass
class _Todo:
    """What of the jobs is done already, and what is not."""

    done: list[Done] = field(default_factory=list)
    jobs: list[SceneJob] = field(default_factory=list)

    @classmethod
    def of(cls, jobs: Sequence[SceneJob], receipts: Receipts) -> _Todo:
        todo = cls()
        for job in jobs:
            done = receipts.holding(job)
            if done is None:
                todo.jobs.append(job)
            else:
                todo.done.append(done)
        if todo.done:
            log(f"{len(todo.done)} of {len(jobs)} scenes are done already")
        return todo


def _check_sources(jobs: Sequence[SceneJob]) -> None:
    missing = [job.source for job in jobs if not split_spec(job.source)[0].exists()]
    if missing:
        raise OptionError(
            f"{len(missing)} scenes do not exist: {examples(missing)}; correct the list"
        )


def _check_outputs(
    jobs: Sequence[SceneJob], receipts: Receipts, model: Path | None, overwrite: bool
) -> None:
    """Refuse to lose a source, a file that is not ours, or one of other settings."""
    if not overwrite:
        other = [
            job.id
            for job in jobs
            if (done := receipts.read(job)) and done.settings != receipts.settings
        ]
        if other:
            raise OptionError(
                f"{len(other)} scenes were made with another model or other options:"
                f" {examples(other)}; pass --overwrite to make them anew, or name another folder"
            )
    inputs = [file for job in jobs for file in cube_files(job.source)]
    inputs += [] if model is None else [model]
    ours = [job for job in jobs if receipts.reason(job) is not None or receipts.read(job)]
    known = {job.id for job in ours}
    foreign = [job for job in jobs if job.id not in known]
    check_outputs(_files(ours), inputs, overwrite=True, makes_folder=True)
    check_outputs(_files(foreign), inputs, overwrite=overwrite, makes_folder=True)


def _files(jobs: Sequence[SceneJob]) -> Iterator[Path]:
    for job in jobs:
        target = Path(job.target)
        try:
            yield from written_files(target)
        except DataError:  # of a writer that is none of ours, or writes folders
            yield target


@contextmanager
def _held(out: Path, lock: Lock) -> Iterator[None]:
    """The archive's folder, for this process alone; what is needed meanwhile goes at the end."""
    try:
        lock.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{out} cannot be written: {error.strerror}") from error
    with lock:
        for item in lock.path.parent.iterdir():  # of a process that was killed
            if item != lock.path:
                shutil.rmtree(item, ignore_errors=True)
        try:
            yield
        finally:
            for item in lock.path.parent.iterdir():
                if item != lock.path:
                    shutil.rmtree(item, ignore_errors=True)
    with suppress(OSError):
        lock.path.parent.rmdir()


def _remove_parts(out: Path, jobs: Sequence[SceneJob]) -> None:
    """Remove what killed workers have left of outputs that they had begun."""
    names = {Path(job.target).stem for job in jobs}
    for folder in {Path(job.target).parent for job in jobs} | {out / FOLDER}:
        for part in folder.glob(PART):
            found = re.fullmatch(r"\.(.+)\.\d+\.part.*", part.name)
            if found and (found[1] in names or folder.name == FOLDER):
                shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


class _Tally:
    """What became of each scene so far, and the file that tells it."""

    def __init__(
        self,
        path: Path,
        jobs: Sequence[SceneJob],
        engine: str,
        model: Path | None,
        done: Sequence[Done],
    ) -> None:
        self._path, self._engine, self._model = path, engine, model
        self._order = {job.id: place for place, job in enumerate(jobs)}
        self._outcomes: dict[str, Outcome] = {one.id: one for one in done}
        self._there = len(done)
        self._began = self._written = time.monotonic()
        self._cost = 0.0

    def add(self, outcome: Outcome) -> None:
        """Add a scene; write the file if that takes little of the time."""
        self._outcomes[outcome.id] = outcome
        if SHARE * (time.monotonic() - self._written) > max(self._cost, 0.2):
            self.write()

    def archive(self) -> Archive:
        """What is known now."""
        known = sorted(self._outcomes.values(), key=lambda one: self._order[one.id])
        done = [one for one in known if isinstance(one, Done)]
        failed = [one for one in known if isinstance(one, Failure)]
        return Archive(
            version=__version__,
            created=datetime.now().astimezone().isoformat(timespec="seconds"),
            model=None if self._model is None else str(self._model),
            engine=self._engine,
            seconds=round(time.monotonic() - self._began, 3),
            computed=len(done) - self._there,
            waiting=len(self._order) - len(known),
            done=done,
            failed=failed,
        )

    def write(self) -> None:
        """Write the file; a disk that is full is told, and no reason to lose an error for."""
        started = time.monotonic()
        try:
            with atomic_path(self._path) as temporary:
                content = json.dumps(self.archive().to_dict(), indent=1, allow_nan=False)
                temporary.write_text(content + "\n", "utf-8")
        except OSError as error:
            LOGGER.warning(f"{self._path} cannot be written: {error.strerror or error}")
        self._written = time.monotonic()
        self._cost = self._written - started
