"""Milliseconds of a row's files, in turn with our student."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from edgesr_export.paired import median_interval

ROUNDS, LEAST, SECONDS = 15, 6, 40.0
"""Of measured rounds at most and at least, and what they may take together."""

PAUSE = 0.02
"""Seconds before a call, in which threads of the one before stop spinning."""

Clock = Callable[[], float]


def in_turn(calls: Mapping[str, Clock], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Milliseconds of every round, by name: A B C, C B A, A B C ...

    Each call tells what it took itself. One round before is not measured; slow calls get fewer.
    """
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in [*calls] if number % 2 == 0 else [*reversed(calls)]:
            time.sleep(PAUSE)
            found[name].append(calls[name]())
        spent = sum(map(sum, found.values())) / 1e3
        if number + 1 >= LEAST and spent * (number + 2) / (number + 1) > SECONDS:
            break
    return found


def figures(times: Sequence[float], ours: Sequence[float]) -> dict[str, object]:
    """Median and spread, and how many times as long as our student a call takes (95 %)."""
    quarter, median, most = np.percentile(times, (25, 50, 75))
    ratios = [one / other for one, other in zip(times, ours, strict=True)]
    return {
        "ms": round(float(median), 3),
        "iqr_ms": round(float(most - quarter), 3),
        "rounds": len(times),
        "ratio": [round(end, 3) for end in median_interval(ratios)],
    }
