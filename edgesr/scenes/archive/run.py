"""An archive from its jobs to ``archive.json``: what is there is left, the rest is done."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from edgesr.errors import OptionError
from edgesr.outputs import check_folder
from edgesr.scenes.archive.engines import Engine, UnfinishedError
from edgesr.scenes.archive.folder import archive_lock, held, remove_parts
from edgesr.scenes.archive.jobs import SceneJob
from edgesr.scenes.archive.known import check_sources, check_targets, look_up
from edgesr.scenes.archive.model import Archive, Failure
from edgesr.scenes.archive.progress import Progress
from edgesr.scenes.archive.queue import Queue
from edgesr.scenes.archive.receipts import FOLDER, Receipts, settings_digest
from edgesr.scenes.archive.tally import FILE, Tally
from edgesr.scenes.archive.work import STRIPS, UPSCALE, Work, function_of


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
    strips: str = STRIPS,
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
        strips: the module that cuts scenes, see :data:`~edgesr.scenes.archive.work.STRIPS`.

    Returns:
        What ``out/archive.json`` holds: scenes that could not be done are among ``failed``.

    Raises:
        OptionError: an output exists, is an input, or was made with other settings; a source does
            not exist; ``out`` cannot be written, or another process writes it.
        UnfinishedError: the disk is full, or the scheduler has ended.
    """
    function_of(call)
    options = jobs[0].options if jobs else {}
    receipts = Receipts(out.absolute() / FOLDER, settings_digest(options, model, call))
    work = Work(call, receipts, timeout, strips)
    check_folder(out)
    lock = archive_lock(out)
    lock.check()
    if resume and not receipts.folder.is_dir():
        raise OptionError(f"there is no archive in {out}; leave out --resume, or correct the name")
    known = look_up(jobs, receipts)
    todo = [job for job in jobs if job.id not in known.done]
    check_sources(todo)
    check_targets(todo, known, model, overwrite)
    if todo:
        engine.check()
    with held(out, lock):
        remove_parts(out, jobs)
        receipts.folder.mkdir(exist_ok=True)
        tally = Tally(out / FILE, jobs, engine.title, model, [*known.done.values()])
        try:
            _do(todo, work, engine, retries, tally)
        finally:
            remove_parts(out, jobs)
            made = tally.write()
    return made


def _do(jobs: Sequence[SceneJob], work: Work, engine: Engine, retries: int, tally: Tally) -> None:
    """Do what is left.

    Raises:
        UnfinishedError: the disk is full: the other scenes would fail, too.
    """
    if not jobs:
        return
    queue = Queue(jobs)
    with Progress(len(jobs)) as progress, closing(engine.run(work, queue, retries)) as ended:
        for job, found in ended:
            if isinstance(found, Failure):
                work.receipts.forget(job)
            outcome = queue.ended(job, found)
            if outcome is None:
                continue
            tally.add(outcome)
            progress.add(outcome)
            if isinstance(outcome, Failure) and outcome.kind == "full":
                raise UnfinishedError(
                    f"{job.id}: {outcome.reason}; what is done stays: free some space, and go"
                    " on with the same command"
                )
