"""``edgesr archive``: every scene of a list, folder or pattern, on one process or many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesr.errors import OptionError, shown
from edgesr.recipe.options import COUNT, THREADS, require, whole
from edgesr.scenes.archive.engines import Cluster, Engine, ThisProcess, UnfinishedError, cores
from edgesr.scenes.archive.folder import STATE, WORKERS
from edgesr.scenes.archive.jobs import make_jobs
from edgesr.scenes.archive.model import Archive
from edgesr.scenes.archive.run import run_archive
from edgesr.scenes.archive.sources import find_sources
from edgesr.scenes.archive.tally import FILE
from edgesr.scenes.archive.work import UPSCALE

_WORKERS, _RETRIES = whole(0, 1024), whole(0, 1000)


@dataclass(frozen=True)
class Running:
    """How an archive is run.

    Attributes:
        workers: processes; 0 is this one, without Dask.
        scheduler: address of a scheduler that has workers of its own.
        threads: of each worker; None divides the processors among them.
        retries: how often a scene is tried again.
        timeout: seconds for one attempt at a scene.
        split: pixels of a scene beyond which it is cut into strips.
    """

    workers: int = 0
    scheduler: str | None = None
    threads: int | None = None
    retries: int = 2
    timeout: float | None = None
    split: int | None = None

    def __post_init__(self) -> None:
        bounds = (
            ("workers", _WORKERS), ("retries", _RETRIES), ("threads", THREADS), ("split", COUNT),
        )  # fmt: skip
        for name, check in bounds:
            require(name, getattr(self, name), check)
        if self.timeout is not None and not 0 < self.timeout < 1e9:  # nor NaN
            raise OptionError(f"--timeout must be a number of seconds above 0, not {self.timeout}")
        if self.scheduler is not None and self.workers:
            raise OptionError("--workers and --scheduler contradict each other; pass one of them")
        if self.timeout is not None and not self.workers and self.scheduler is None:
            raise OptionError(
                "--timeout ends the process that is late, so it needs --workers 1 or more"
            )

    @property
    def threads_each(self) -> int | None:
        """Threads of a scene; None leaves it to the worker, which knows its machine."""
        if self.threads is None and self.scheduler is None:
            return max(1, cores() // max(1, self.workers))
        return self.threads

    def engine(self, out: Path) -> Engine:
        """Where the scenes are done."""
        if not self.workers and self.scheduler is None:
            return ThisProcess()
        return Cluster(self.workers, self.threads_each or 1, out / STATE / WORKERS, self.scheduler)


def archive(
    scenes: str,
    out: Path,
    model: Path,
    running: Running,
    *,
    suffix: str = ".tif",
    asset: str | None = None,
    options: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    call: str | None = None,
) -> Archive:
    """Super-resolve every scene that is not done yet.

    Args:
        scenes: see :func:`edgesr.scenes.archive.sources.find_sources`.
        out: folder of the outputs, receipts and ``archive.json``.
        model: model file.
        running: how.
        suffix: of the outputs.
        asset: of a STAC item.
        options: more of the function that super-resolves a scene.
        resume: refuse a folder that holds no archive.
        overwrite: replace outputs that are something else, or of other settings.
        call: that function; edgesr's own by default.

    Raises:
        OptionError, DataError: something cannot be used; nothing was written then.
        UnfinishedError: some scenes could not be done.
    """
    if not model.is_file():
        raise OptionError(f"--model {model} does not exist; name a model file")
    values = {"model": str(model.absolute()), "threads": running.threads_each, **(options or {})}
    jobs = make_jobs(find_sources(scenes, asset, out), out, suffix, values, running.split)
    made = run_archive(
        jobs,
        out,
        running.engine(out),
        model=model,
        call=call or UPSCALE,
        retries=running.retries,
        timeout=running.timeout,
        resume=resume,
        overwrite=overwrite,
    )
    if made.failed:
        first = made.failed[0]
        raise UnfinishedError(
            f"{len(made.failed)} of {len(jobs)} scenes failed, such as {shown(first.id)}"
            f" ({shown(first.reason)}); {out / FILE} lists them, and the same command tries again"
        )
    return made
