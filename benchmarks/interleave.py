"""Measure a group of callables in turn, and hand each its times as a record of pytest-benchmark.

::

    warm-up: A B C   measured: A B C  A B C  A B C ...     record A: a1 a2 a3 ...
                                                           record B: b1 b2 b3 ...

pytest-benchmark measures one test after another, so that a machine whose speed changes favours one
of them. Here the first test of a group measures all of it (:func:`times_in_turn`); each test of
the group then reports its own times to pytest-benchmark through a timer that replays them
(:class:`Replay`), so that saving, comparing and printing work as ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edgesr.evaluation.latency import measure

Calls = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Budget:
    """How long a group may be measured.

    Attributes:
        seconds: what the measured rounds may take together.
        least: rounds that are measured whatever they take.
        most: rounds after which nothing more is learnt.
    """

    seconds: float
    least: int = 5
    most: int = 25

    def rounds(self, seconds_a_round: float) -> int:
        """Rounds that fit."""
        return round(min(self.most, max(self.least, self.seconds / max(seconds_a_round, 1e-9))))


def times_in_turn(
    calls: Calls, budget: Budget, *, clock: Callable[[], int] = time.perf_counter_ns
) -> dict[str, list[float]]:
    """Seconds of every measured round, by name.

    Everything is called once before (allocation, compilation), then once more to see how many
    rounds the budget allows; neither counts.
    """
    probe = measure(calls, repeats=1, warmup=1, clock=clock)
    rounds = budget.rounds(sum(timing.median_ms for timing in probe.values()) / 1e3)
    stamps: list[int] = []

    def noting_clock() -> int:
        stamps.append(clock())
        return stamps[-1]

    measure(calls, repeats=rounds, warmup=0, clock=noting_clock)
    spans = [(end - start) / 1e9 for start, end in zip(stamps[::2], stamps[1::2], strict=True)]
    return {name: spans[index :: len(calls)] for index, name in enumerate(calls)}


class Replay:
    """A timer whose every second answer lies one stored time after the one before."""

    def __init__(self) -> None:
        self._answers: Iterator[float] = iter(())

    def load(self, seconds: Sequence[float]) -> None:
        """Set the times that the next pairs of calls span."""
        self._answers = iter([answer for span in seconds for answer in (0.0, span)])

    def now(self) -> float:
        """The next answer."""
        return next(self._answers)


@dataclass
class Groups:
    """Groups that were measured in this run, and what could not be part of them, and why."""

    measured: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    absent: dict[str, dict[str, str]] = field(default_factory=dict)

    def times(
        self, group: str, gather: Callable[[], tuple[Calls, Mapping[str, str]]], budget: Budget
    ) -> dict[str, list[float]]:
        """Times of a group; ``gather`` makes its callables when they are first asked for.

        ``gather`` also gives the reason, by name, for everything that cannot be called here.
        """
        if group not in self.measured:
            calls, absent = gather()
            self.absent[group] = dict(absent)
            self.measured[group] = times_in_turn(calls, budget)
        return self.measured[group]
