from __future__ import annotations

import math

import numpy as np
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.int8.control import Drop, Limits, checked_metrics, control
from hypothesis import given, settings
from hypothesis import strategies as st

COSTS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=12)


def additive(costs):
    calls = []

    def measure(indices):
        calls.append(tuple(indices))
        return Drop(sum(costs[i][0] for i in indices), sum(costs[i][1] for i in indices))

    return measure, calls


@settings(deadline=None)
@given(costs=COSTS, psnr=st.floats(0, 2), sam=st.floats(0, 2))
def test_the_limits_hold_and_one_layer_more_would_break_them(costs, psnr, sam):
    measure, _ = additive(costs)
    limits = Limits(psnr, sam)
    found = control(costs, measure, limits)
    assert limits.hold(found.drop)
    assert found.drop == (measure(found.chosen) if found.chosen else Drop(0, 0))
    left = [i for i in range(len(costs)) if i not in found.chosen]
    if left:
        assert set(found.chosen) == set(found.ranking[: len(found.chosen)])
        following = found.ranking[: len(found.chosen) + 1]
        assert not limits.hold(measure(sorted(following)))


def test_the_worst_goes_first():
    costs = [(0.01, 0.0), (0.5, 0.0), (0.0, 0.02), (0.01, 0.9)]
    measure, calls = additive(costs)
    found = control(costs, measure, Limits(0.05, 0.05))
    assert found.chosen == (0, 2)
    assert found.ranking == (0, 2, 1, 3)
    assert found.alone[3] == Drop(0.01, 0.9)
    assert found.trials == len(calls)


def test_what_no_time_is_left_for_stays_float_and_is_told():
    measure, _ = additive([(0.01, 0.0), (0.5, 0.0), (0.02, 0.0), (0.0, 0.0), (0.0, 0.0)])
    seconds, lines = iter(range(0, 1000, 30)), []
    found = control(
        range(5), measure, Limits(0.05, 0.05),
        seconds=100, clock=lambda: next(seconds), told=lines.append,
    )  # fmt: skip
    assert found.chosen == (0, 2)
    assert (sorted(found.alone), found.unmeasured) == ([0, 1, 2], (3, 4))
    assert lines == ["int8: 2 of 5 layers stay float: 100 s are over"]


def test_all_that_was_measured_may_hold():
    measure, _ = additive([(0.01, 0.0), (0.5, 0.0)])
    seconds = iter((0.0, 1.0, 11.0))
    found = control(range(2), measure, Limits(0.05, 1), seconds=10, clock=lambda: next(seconds))
    assert (found.chosen, found.unmeasured) == ((0,), (1,))


def test_nothing_is_ranked_when_everything_holds():
    measure, calls = additive([(0.1, 0.1)] * 5)
    found = control(range(5), measure, Limits(1, 1))
    assert (found.chosen, found.alone, calls) == ((0, 1, 2, 3, 4), {}, [(0, 1, 2, 3, 4)])


def test_a_limit_that_each_layer_breaks_leaves_none():
    measure, _ = additive([(0.1, 0.0), (0.2, 0.0), (0.3, 0.0)])
    found = control(range(3), measure, Limits(0.05, 1))
    assert (found.chosen, found.drop) == ((), Drop(0.0, 0.0))
    assert len(found.alone) == 3


def test_gains_are_no_loss():
    measure, _ = additive([(-0.1, -0.2)])
    assert control([0], measure, Limits(0, 0)).chosen == (0,)


@pytest.mark.parametrize(("psnr", "sam"), [(-0.1, 0.0), (0.0, math.nan)])
def test_limits_are_numbers_from_0(psnr, sam):
    with pytest.raises(ExportError, match="is a number from 0"):
        Limits(psnr, sam)


def two_thirds(losses):
    """An interval that reaches from the least to two thirds of the way to the greatest."""
    return float(losses.min()), float(losses.min() + 2 / 3 * np.ptp(losses))


def test_a_drop_is_the_mean_over_blocks_with_the_interval_of_what_each_loses():
    before = {"mpsnr": np.array([[30.0, 32.0], [31.0, 33.0]]), "sam": np.array([2.0, 3.0])}
    after = {"mpsnr": np.array([[29.0, 32.0], [31.0, 32.0]]), "sam": np.array([2.5, 3.2])}
    drop = Drop.between(before, after, two_thirds)
    assert (drop.psnr, drop.sam) == pytest.approx((0.5, 0.35))
    assert drop.psnr_interval == pytest.approx((0.0, 2 / 3))
    assert drop.sam_interval == pytest.approx((0.2, 0.4))
    plain = Drop.between(before, after)
    assert plain == Drop(drop.psnr, drop.sam)
    numbers = Drop.between({"mpsnr": 31.5, "sam": 2.5}, {"mpsnr": 31.0, "sam": 2.75}, two_thirds)
    assert numbers == Drop(0.5, 0.25)
    assert Drop.between(before, after, lambda losses: None) == plain


def test_limits_hold_by_the_upper_ends_of_intervals():
    limits = Limits(0.05, 0.1)
    assert limits.hold(Drop(0.04, 0.09))
    assert limits.hold(Drop(0.04, 0.09, (0.0, 0.05), (0.08, 0.1)))
    assert not limits.hold(Drop(0.04, 0.09, (0.0, 0.051), (0.08, 0.1)))
    assert not limits.hold(Drop(0.04, 0.09, (0.0, 0.05), (0.08, 0.101)))


@pytest.mark.parametrize(
    "answer",
    [
        {"mpsnr": 30.0},
        {"mpsnr": math.nan, "sam": 1.0},
        {"mpsnr": np.array([30.0, math.nan]), "sam": np.ones(2)},
    ],
)
def test_metrics_are_two_finite_numbers(answer):
    with pytest.raises(ExportError, match="a finite number is needed"):
        checked_metrics(lambda network: answer, lambda x: x)
