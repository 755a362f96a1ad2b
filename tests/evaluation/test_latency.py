"""The order of calls and the arithmetic, on a clock that the test winds; never real time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.errors import OptionError
from edgesr.evaluation.latency import measure


class Clock:
    """Nanoseconds that only :meth:`spend` moves."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def spend(self, milliseconds: float) -> None:
        self.now += round(milliseconds * 1e6)


def test_callables_are_called_in_turn():
    calls: list[str] = []
    measure(
        {name: (lambda name=name: calls.append(name)) for name in "ABC"},
        repeats=3,
        warmup=2,
    )
    assert calls == list("ABC") * 5


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=30))
def test_figures_are_those_of_the_times_spent(durations):
    clock = Clock()
    remaining = iter([10**6, *durations])  # one slow warm-up call that must not count
    timing = measure(
        {"a": lambda: clock.spend(next(remaining))}, len(durations), warmup=1, clock=clock
    )["a"]
    assert timing.median_ms == pytest.approx(np.median(durations))
    assert timing.p95_ms == pytest.approx(np.quantile(durations, 0.95))
    assert timing.min_ms == min(durations)
    assert timing.repeats == len(durations)


def test_each_callable_pays_only_its_own_time():
    clock = Clock()
    times = measure(
        {"slow": lambda: clock.spend(7), "fast": lambda: clock.spend(2)}, repeats=5, clock=clock
    )
    assert (times["slow"].median_ms, times["fast"].median_ms) == (7, 2)
    assert list(times) == ["slow", "fast"]


@pytest.mark.parametrize(("repeats", "warmup"), [(0, 3), (-1, 3), (5, -1)])
def test_impossible_counts_are_refused(repeats, warmup):
    with pytest.raises(OptionError, match="at least 1 repeat"):
        measure({}, repeats, warmup)
