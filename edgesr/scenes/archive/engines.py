"""Where scenes are done: in this process, or by workers of Dask.

An engine takes jobs from an iterator as it can begin them and yields what became of each, in any
order. It holds a few at a time, however many there are.
"""

from __future__ import annotations

import hashlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesr.errors import EdgesrError, OptionError, brief
from edgesr.progress import log
from edgesr.report.wording import plural
from edgesr.scenes.archive.jobs import SceneJob
from edgesr.scenes.archive.model import Failure
from edgesr.scenes.archive.work import Cut, Made, Outcome, Work, failure

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

Outcomes = Generator[tuple[SceneJob, Outcome | Cut | Made], None, None]
"""What became of each job; closed, it ends what it has begun."""
PATIENCE = 10
"""Seconds that a scheduler has to answer."""
AHEAD = 2
"""Scenes at the scheduler beside those that are being done: no worker waits for us."""
LOST = 30
"""Seconds after which a worker that has gone and not come back is replaced; starting takes 2."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class UnfinishedError(EdgesrError):
    """An archive that is not complete; what is done stays, and the same command goes on."""

    exit_code = 3


class Engine(ABC):
    """Does scenes."""

    @abstractmethod
    def run(self, work: Work, jobs: Iterator[SceneJob], retries: int) -> Outcomes:
        """Do every job, each up to ``retries`` times again; yield what became of it."""

    def check(self) -> None:  # noqa: B027  (most need nothing)
        """Raise :class:`OptionError` where it cannot run, before anything is written."""

    @property
    @abstractmethod
    def title(self) -> str:
        """For people: "2 workers of 1 thread"."""


@dataclass(frozen=True)
class ThisProcess(Engine):
    """One scene after the other, without Dask."""

    @property
    def title(self) -> str:
        """For people."""
        return "one process"

    def run(self, work: Work, jobs: Iterator[SceneJob], retries: int) -> Outcomes:
        """Do every job."""
        for job in jobs:
            yield job, _attempts(work, job, retries)


def _attempts(work: Work, job: SceneJob, retries: int) -> Outcome | Cut | Made:
    for left in range(retries, -1, -1):
        try:
            return work(job)
        except Exception as error:
            if not left:
                return failure(job, error)
    raise AssertionError("unreachable")


@dataclass(frozen=True)
class Cluster(Engine):
    """Workers of Dask: processes here, or whatever has joined a scheduler.

    Attributes:
        workers: processes to start here.
        threads: of each, for the libraries that a scene uses; a worker does one scene at a time.
        scratch: folder for what Dask writes; made, and removed.
        scheduler: address of one that runs already; no processes are started here then.
    """

    workers: int
    threads: int
    scratch: Path
    scheduler: str | None = None

    @property
    def title(self) -> str:
        """For people."""
        if self.scheduler is not None:
            return f"the workers of {self.scheduler}"
        return f"{plural(self.workers, 'worker')} of {plural(self.threads, 'thread')}"

    def check(self) -> None:
        """Make sure that Dask is there, and that somebody answers at the address."""
        _require_dask()
        if self.scheduler is not None:
            with self._client(0):
                pass

    def run(self, work: Work, jobs: Iterator[SceneJob], retries: int) -> Outcomes:
        """Do every job.

        Raises:
            OptionError: nobody answers at the address.
            UnfinishedError: the scheduler has ended.
        """
        with self._client(retries) as client:
            if self.scheduler is not None and not client.nthreads():
                log(f"waiting for workers to join {self.scheduler}")
            yield from _submit(client, work, jobs, retries)

    @contextmanager
    def _client(self, retries: int) -> Iterator[Client]:
        from distributed import Client

        with _silent(), ExitStack() as stack:
            if self.scheduler is None:
                address = stack.enter_context(self._processes(retries)).scheduler_address
            else:
                address = self.scheduler
            try:
                client = Client(address, set_as_default=False, timeout=PATIENCE)
            except (OSError, ValueError) as error:
                raise OptionError(
                    f"nobody answers at --scheduler {address} ({brief(error)}); start one by"
                    " dask scheduler"
                ) from error
            yield stack.enter_context(client)

    @contextmanager
    def _processes(self, retries: int) -> Iterator[LocalCluster]:
        """Workers on this machine, which nobody else can reach from another one."""
        import dask
        from distributed import LocalCluster
        from tornado.ioloop import PeriodicCallback

        environment = "distributed.nanny.pre-spawn-environ"
        settings: dict[str, Any] = {
            "distributed.scheduler.allowed-failures": retries,
            "distributed.scheduler.worker-saturation": 1.0,  # a death is blamed on one scene
            "distributed.scheduler.http.routes": [],
            "distributed.worker.use-file-locking": False,  # the folder is ours alone
            "distributed.deploy.lost-worker-timeout": f"{LOST}s",
            f"{environment}.DASK_LOGGING__DISTRIBUTED": "critical",
            **{f"{environment}.{name}": self.threads for name in THREADS},
        }
        with (
            dask.config.set(settings),
            LocalCluster(
                n_workers=self.workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # of a server that Dask always starts
                scheduler_kwargs={"dashboard": False},
                memory_limit=0,  # Dask would stop giving out scenes without a word
                local_directory=str(self.scratch),
                preload=["edgesr.scenes.archive.preload"],
                silence_logs=logging.CRITICAL,
            ) as cluster,
        ):
            # Dask itself never starts a worker again that has died while it was being started
            revive = PeriodicCallback(lambda: cluster.scale(self.workers), 1000)
            cluster.loop.add_callback(revive.start)
            try:
                yield cluster
            finally:
                cluster.loop.add_callback(revive.stop)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep Dask from telling, with tracebacks, what becomes of scenes: that is told by us."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _submit(client: Client, work: Work, jobs: Iterator[SceneJob], retries: int) -> Outcomes:
    from dask._task_spec import Task
    from distributed import as_completed

    running: dict[Any, SceneJob] = {}
    completed = as_completed(loop=client.loop)
    while True:
        try:
            threads = sum(client.nthreads().values())  # workers may have come or gone
        except OSError as error:
            raise _gone(error) from error
        for job in islice(jobs, max(0, threads + AHEAD - len(running))):
            key = _key(work, job)
            running[key] = job
            # As data producers they are kept back until a worker is free. What Dask hands out
            # earlier is blamed, too, when that worker dies of another scene.
            task = Task(key, work, job, _data_producer=True)
            completed.update(client.get({key: task}, [key], sync=False, retries=retries))
        if not running:
            return
        future = next(completed)
        job = running.pop(future.key)
        yield job, _outcome(future, work, job)
        future.release()


def _key(work: Work, job: SceneJob) -> tuple[str, str]:
    """The same for the same work, whoever asks: a new client finds what an old one began.

    Its first part is the same for all scenes: Dask keeps statistics of each for ever.
    """
    text = repr((work, job))
    return "edgesr-scene", hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _outcome(future: Future, work: Work, job: SceneJob) -> Outcome | Cut | Made:
    from distributed.scheduler import KilledWorker

    try:
        outcome: Outcome | Cut | Made = future.result()
        return outcome
    except KilledWorker:
        if done := work.receipts.finished(job):  # what died with the worker is only our answer
            return done
        reason = work.receipts.reason(job)
        return Failure(
            id=job.id,
            source=job.source,
            kind="late" if reason else "died",
            reason=reason or "its worker died every time, as by a crash or a lack of memory",
        )
    except Exception as error:
        if future.status != "error":  # the scene did not fail: nobody knows of it any more
            raise _gone(error) from error
        return failure(job, error)


def _gone(error: Exception) -> UnfinishedError:
    return UnfinishedError(
        f"the scheduler is gone ({brief(error)}); what is done stays: start it again, and go on"
        " with the same command"
    )


def _require_dask() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise OptionError(
            "--workers and --scheduler need Dask: pip install 'edgesr[cluster]'; --workers 0 does"
            " without"
        ) from error


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
