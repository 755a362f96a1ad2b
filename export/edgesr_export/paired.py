"""Which of two calls is faster? Both are called in turn until a sign test decides.

A round times both, in alternating order, so that a change of the machine's mood meets both alike.
After some rounds each call's wins are tested by their sign, which no outlier moves; when neither
can be said to be faster, the two count as equal, and whoever asks takes the simpler.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

LEVEL = 0.05
"""Chance that two calls of equal speed are told apart, over all looks together."""

LOOKS = (8, 12, 16, 24, 32)
"""Rounds after which the wins are tested; each look at a share of :data:`LEVEL`."""

SECONDS = 6.0
"""Rounds end at the first look beyond this: slow calls differ less from round to round."""

Call = Callable[[], object]
Clock = Callable[[], int]


@dataclass(frozen=True)
class Paired:
    """Two calls, timed side by side.

    Attributes:
        first_ms, second_ms: of each round [ms].
        margin: share of the time below which a difference is of no interest.
        verdict: -1: the first is faster by more than the margin; 1: the second is; 0: equal.
    """

    first_ms: tuple[float, ...]
    second_ms: tuple[float, ...]
    margin: float
    verdict: int

    @property
    def ratio(self) -> float:
        """How many times as long the first takes: the median over the rounds."""
        return self.interval(0.0)[0]

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The interval of :attr:`ratio`; see :func:`median_interval`."""
        rounds = zip(self.first_ms, self.second_ms, strict=True)
        return median_interval([first / second for first, second in rounds], confidence)


def compare(
    first: Call,
    second: Call,
    *,
    margin: float = 0.01,
    seconds: float = SECONDS,
    clock: Clock = time.perf_counter_ns,
) -> Paired:
    """Call both in turn until one is shown to be faster, or the looks or the time are used up.

    Args:
        first, second: what is compared; each returns when its work is done.
        margin: share of the other's time that a call must save in most rounds.
        seconds: no further round after so many, once :data:`LOOKS` allows an answer.
        clock: nanoseconds, monotonic.
    """
    spent: tuple[list[float], list[float]] = ([], [])
    for call in (first, second):
        call()  # untimed: whatever is made at the first call
    began, verdict = clock(), 0
    for look in LOOKS:
        while len(spent[0]) < look:
            _round((first, second), spent, clock)
        verdict = _verdict(*spent, margin)
        if verdict or (clock() - began) / 1e9 > seconds:
            break
    return Paired(tuple(spent[0]), tuple(spent[1]), margin, verdict)


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The interval that holds the median with at least this confidence, whatever the distribution.

    Its ends are the k-th smallest and the k-th largest value, k by the binomial distribution (the
    inverse of the sign test; Conover, Practical Nonparametric Statistics, 3.2). With fewer than
    six values the widest possible is less sure than 95 %; a confidence of 0 gives the median twice.

    Raises:
        ValueError: no value.
    """
    ordered, count = sorted(values), len(values)
    if not count:
        raise ValueError("no value has no median")
    if confidence == 0:
        low, high = ordered[(count - 1) // 2], ordered[count // 2]
        return ((low + high) / 2,) * 2
    cut = 0
    while 2 * cut + 2 < count and 2 * _tail(count, count - cut - 1) <= 1 - confidence:
        cut += 1
    return ordered[cut], ordered[-1 - cut]


def _round(calls: tuple[Call, Call], spent: tuple[list[float], list[float]], clock: Clock) -> None:
    """Time both; every second round begins with the second."""
    backwards = len(spent[0]) % 2
    for call, times in list(zip(calls, spent, strict=True))[:: -1 if backwards else 1]:
        start = clock()
        call()
        times.append((clock() - start) / 1e6)


def _verdict(first: Sequence[float], second: Sequence[float], margin: float) -> int:
    rounds = list(zip(first, second, strict=True))
    enough = _enough(len(rounds))
    if sum(b < (1 - margin) * a for a, b in rounds) >= enough:
        return 1
    return -1 if sum(a < (1 - margin) * b for a, b in rounds) >= enough else 0


@cache
def _enough(count: int) -> int:
    """The least number of wins in ``count`` rounds that a fair coin seldom reaches."""
    level = LEVEL / 2 / len(LOOKS)
    return next(wins for wins in range(count + 2) if _tail(count, wins) <= level)


def _tail(count: int, wins: int) -> float:
    """Chance of at least so many heads in ``count`` tosses of a fair coin."""
    return float(sum(math.comb(count, k) for k in range(wins, count + 1)) / 2**count)
