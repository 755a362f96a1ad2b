"""The jobs of an archive as they can begin: scenes, and the strips of large ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from edgesr.scenes.archive.jobs import SceneJob
from edgesr.scenes.archive.work import Cut, Made, Outcome


@dataclass
class _Strips:
    """What is known of a scene that was cut: strips that have not ended, and seconds so far."""

    left: int
    seconds: float = 0.0


class Queue(Iterator[SceneJob]):
    """Jobs that can begin now; at an end, it may go on when a job that was begun has ended.

    A scene that turns out to be large comes again: as its strips, before other scenes, and when
    they are there as a whole, which is put together of them.
    """

    def __init__(self, jobs: Iterable[SceneJob]) -> None:
        self._jobs = iter(jobs)
        self._first: deque[SceneJob] = deque()
        self._cut: dict[str, _Strips] = {}

    def __next__(self) -> SceneJob:
        return self._first.popleft() if self._first else next(self._jobs)

    def ended(self, job: SceneJob, outcome: Outcome | Cut | Made) -> Outcome | None:
        """Take note of what became of a job; return what became of its scene, when it is known."""
        if isinstance(outcome, Cut):
            self._cut[job.id] = _Strips(len(outcome.strips))
            self._first.extend(replace(job, split=None, strip=strip) for strip in outcome.strips)
            return None
        if isinstance(outcome, Made):
            self._made(job, outcome.seconds)
            return None
        if job.strip is None:
            return outcome
        if self._cut.pop(job.id, None) is None:
            return None  # another strip of it has failed, too
        self._first = deque(one for one in self._first if one.id != job.id)
        return outcome

    def _made(self, job: SceneJob, seconds: float) -> None:
        strips = self._cut.get(job.id)
        if strips is None:
            return
        strips.left -= 1
        strips.seconds += seconds
        if not strips.left:
            del self._cut[job.id]
            self._first.appendleft(replace(job, strip=None, spent=strips.seconds))
