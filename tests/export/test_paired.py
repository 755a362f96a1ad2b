"""On clocks that are made up: no test here depends on a machine's mood."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from edgesr_export.paired import LOOKS, Paired, compare, median_interval
from hypothesis import given
from hypothesis import strategies as st


class Machine:
    """A clock that calls move forward, by times that are drawn."""

    def __init__(self, seed: int, spread: float) -> None:
        self.now, self.called, self.spread = 0, [], spread
        self.random = random.Random(seed)

    def call(self, name: str, milliseconds: float):
        def call() -> None:
            self.called.append(name)
            noise = self.random.lognormvariate(0, self.spread)
            self.now += int(milliseconds * noise * 1e6)

        return call

    def compare(self, first: float, second: float, **options) -> Paired:
        calls = self.call("a", first), self.call("b", second)
        return compare(*calls, clock=lambda: self.now, **options)


@pytest.mark.parametrize(("second", "verdict"), [(8.0, 1), (12.5, -1), (10.0, 0), (9.95, 0)])
def test_a_clear_difference_is_seen_and_a_small_one_is_none(second, verdict):
    found = Machine(0, 0.0).compare(10.0, second)
    assert found.verdict == verdict
    assert found.ratio == pytest.approx(10 / second)


def test_a_clear_difference_takes_few_rounds_and_equality_all():
    assert len(Machine(0, 0.02).compare(10.0, 8.0).first_ms) == LOOKS[0]
    assert len(Machine(0, 0.02).compare(10.0, 10.0, seconds=60).first_ms) == LOOKS[-1]


def test_slow_calls_get_fewer_rounds():
    found = Machine(0, 0.02).compare(1000.0, 1000.0, seconds=1)
    assert len(found.first_ms) == LOOKS[0]


def test_both_are_called_once_before_and_then_in_alternating_order():
    machine = Machine(0, 0.0)
    machine.compare(10.0, 5.0)
    assert machine.called[:6] == ["a", "b", "a", "b", "b", "a"]


def test_equal_calls_are_told_apart_in_at_most_one_run_of_twenty():
    wrong = sum(Machine(seed, 0.2).compare(10, 10, margin=0).verdict != 0 for seed in range(400))
    assert wrong <= 400 * 0.05


def test_a_third_less_is_found_through_a_loud_machine():
    found = sum(Machine(seed, 0.2).compare(10.0, 6.7).verdict == 1 for seed in range(100))
    assert found >= 95


@pytest.mark.parametrize(("count", "cut"), [(6, 0), (8, 0), (9, 1), (15, 3), (20, 5), (25, 7)])
def test_the_median_interval_is_that_of_printed_tables(count, cut):
    """Conover, table A3: 95 % intervals of the median by order statistics."""
    assert median_interval(range(count)) == (cut, count - 1 - cut)


def test_no_confidence_is_the_median():
    assert median_interval([4, 1, 3, 2], 0) == (2.5, 2.5)


def test_of_nothing_there_is_no_median():
    with pytest.raises(ValueError, match="no value"):
        median_interval([])


@given(st.lists(st.floats(1, 100), min_size=1, max_size=40), st.floats(0.5, 0.99))
def test_the_interval_holds_the_median_and_grows_with_confidence(values, confidence):
    low, high = median_interval(values, confidence)
    assert low <= np.median(values) <= high
    wider = median_interval(values, (1 + confidence) / 2)
    assert wider[0] <= low
    assert high <= wider[1]


def test_the_interval_covers_as_often_as_it_says():
    draw = np.random.default_rng(0)
    inside = itertools.starmap(
        lambda low, high: low <= 0 <= high,
        (median_interval(draw.standard_cauchy(15)) for _ in range(2000)),
    )
    assert np.mean(list(inside)) >= 0.95
