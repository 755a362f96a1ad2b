"""What is done for one scene, wherever it is done: by this process, or by a worker."""

from __future__ import annotations

import errno
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from edgesr.errors import OptionError, brief
from edgesr.scenes.archive.jobs import SceneJob
from edgesr.scenes.archive.model import Done, Failure
from edgesr.scenes.archive.receipts import Receipts

UPSCALE = "edgesr.scenes.upscale:upscale_scene"
"""Super-resolves a scene: ``f(source, target, options) -> Receipt``."""
STRIPS = "edgesr.scenes.strips"
"""Cuts large scenes: ``cut(source, target, options, pixels)`` returns rows of blocks, and
``upscale_strip(source, target, options, rows)`` makes those; the function of the whole scene then
puts together what is there."""
FULL = (errno.ENOSPC, errno.EDQUOT)
Outcome = Done | Failure


@dataclass(frozen=True)
class Cut:
    """A scene that is made in strips: rows of blocks, see :class:`SceneJob`."""

    strips: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Made:
    """A strip that is there, and the seconds that it has taken."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """Super-resolves one scene and leaves its receipt; called again, it finds it done.

    Attributes:
        call: ``package.module:function``, called as ``f(source, target, options)``. It writes
            ``target`` whole or not at all, replaces one that exists, and returns what has the
            attributes of a :class:`~edgesr.scenes.receipt.Receipt`. What it needs for every scene,
            such as a session, it keeps for the next one itself.
        receipts: where receipts are.
        timeout: seconds after which the work on a scene has failed; its process ends then.
        strips: module that cuts scenes, see :data:`STRIPS`.
    """

    call: str
    receipts: Receipts
    timeout: float | None = None
    strips: str = STRIPS

    def __call__(self, job: SceneJob) -> Outcome | Cut | Made:
        """Do a scene or a strip of one, or find out that trying again would not help.

        Raises:
            Exception: whatever may go better the next time.
        """
        if done := self.receipts.finished(job):
            return done
        self.receipts.begin(job)
        try:
            Path(job.target).parent.mkdir(parents=True, exist_ok=True)
            with (
                _time_limit(self.timeout, lambda: self.receipts.begin(job, self.too_late)),
                warnings.catch_warnings(record=True) as told,
            ):
                done = self._done(job)
            if isinstance(done, Cut | Made):
                return done
            lines = dict.fromkeys(" ".join(str(one.message).split()) for one in told)
            return self.receipts.keep(job, done, [line for line in lines if line])
        except Exception as error:
            if hasattr(error, "exit_code") or is_full(error):
                return failure(job, error)
            raise

    def _done(self, job: SceneJob) -> Any:
        """A receipt; or what became of a part of the work."""
        words = job.source, job.target, job.options
        if job.strip is not None:
            began = time.perf_counter()
            function_of(f"{self.strips}:upscale_strip")(*words, job.strip)
            self.receipts.end(job)
            return Made(time.perf_counter() - began)
        if job.split is not None:
            strips = function_of(f"{self.strips}:cut")(*words, job.split)
            if len(strips) > 1:
                return Cut(tuple(strips))
        return function_of(self.call)(*words)

    @property
    def too_late(self) -> str:
        """Why a scene was ended by the time limit."""
        return f"it took longer than --timeout {self.timeout:g} s"


def failure(job: SceneJob, error: BaseException) -> Failure:
    """What is recorded of a scene whose last attempt has raised."""
    kind: Literal["full", "refused", "error"] = "error"
    reason = brief(error)
    if is_full(error):
        kind = "full"
    elif hasattr(error, "exit_code"):  # a line for people
        kind, reason = "refused", " ".join(str(error).split())
    return Failure(id=job.id, source=job.source, kind=kind, reason=reason)


def is_full(error: BaseException) -> bool:
    """Whether no space was left, be it said in other words."""
    if isinstance(error, OSError):
        return error.errno in FULL
    return error.__cause__ is not None and is_full(error.__cause__)


def function_of(name: str) -> Callable[..., Any]:
    """The function that is called ``package.module:function``.

    Raises:
        OptionError: there is none.
    """
    module, _, function = name.partition(":")
    try:
        found: Callable[..., Any] = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise OptionError(f"cannot find {name} ({brief(error)}); install what it needs") from error
    return found


@contextmanager
def _time_limit(seconds: float | None, before_end: Callable[[], None]) -> Iterator[None]:
    """End the process if the block takes longer: nothing else stops a read that hangs."""
    if seconds is None:
        yield
        return

    def end() -> None:
        try:
            before_end()
        finally:
            os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
