"""The order of calls and the arithmetic, on a clock that the test winds; never real time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.errors import OptionError
from edgesr.evaluation.latency import FEWEST, Timing, measure


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


def test_slow_calls_take_part_in_fewer_rounds_and_ratios_are_of_shared_ones():
    clock = Clock()
    calls = {"slow": lambda: clock.spend(1000), "fast": lambda: clock.spend(100)}
    times = measure(calls, 15, warmup=1, seconds=3.0, clock=clock)
    assert (times["slow"].repeats, times["fast"].repeats) == (FEWEST, 15)
    assert clock.now / 1e6 == (FEWEST + 1) * 1000 + 16 * 100
    assert [round_ for round_, ms in enumerate(times["slow"].rounds_ms) if ms == ms] == [
        0, 3, 6, 8, 11, 14,
    ]  # fmt: skip
    assert times["slow"].ratio_to(times["fast"]) == (10, 10)


def test_a_ratio_is_taken_round_by_round():
    """What slows a whole round down, slows both calls of it."""
    slow = Timing(3, 3, 3, 6, (2.0, 20.0, 2.0, 200.0, 2.0, 2.0))
    fast = Timing(3, 3, 3, 6, (1.0, 10.0, 1.0, 100.0, 1.0, 1.0))
    assert slow.ratio_to(fast) == (2, 2)
