from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_trials import trial

from edgesr.compress.search.budget import LOSS_TIE, Budget, choose, front
from edgesr.compress.search.trial import Trial, against_the_best
from edgesr.errors import OptionError
from edgesr.stored import typed
from edgesr.surgery.candidates import LATENCY_TIE

LOSSES = st.floats(-0.5, 0.5).map(lambda value: round(value, 3))


def near(loss: float, limit: float) -> bool:
    """Whether half of what a trial has won back on top, of 1 dB, would bring it within a limit."""
    return loss <= limit or loss - 0.5 * (1 - loss) <= limit


trials = st.lists(
    st.tuples(st.integers(100, 999), st.none() | LOSSES, st.floats(1, 99)), min_size=1, max_size=12
).map(lambda rows: [trial(n, macs, loss, ms) for n, (macs, loss, ms) in enumerate(rows)])


def test_cost_is_the_largest_share_of_a_limit():
    budget = Budget({"macs": 400, "params": 2, "latency_ms": 100}, 0.1)
    assert budget.cost({"macs": 200, "params": 3}) == 1.5
    assert Budget({}, 0.1).cost({"macs": 200}) == 0


def test_both_losses_count_where_both_are_limited():
    drop = {"psnr_drop": 0.02, "sam_drop": 0.3}
    assert Budget({}, 0.05).quality(drop) <= 0
    assert Budget({}, 0.05, 0.1).quality(drop) == pytest.approx(0.2)


def test_upper_ends_of_intervals_count_where_there_are_any():
    drop = {"psnr_drop": 0.02, "sam_drop": 0.1, "psnr_high": 0.08, "sam_high": 0.4}
    assert Budget({}, 0.05).quality(drop) == pytest.approx(0.03)
    assert Budget({}, 0.05, 0.1).quality(drop) == pytest.approx(0.3)
    assert Budget({}, 0.08, 0.4).quality(drop) <= 0


@given(trials, st.integers(100, 999), LOSSES)
def test_within_a_limit_on_cost_the_least_loss_is_taken(found, most, loss):
    budget = Budget({"macs": most}, loss)
    affordable = [t for t in found if t.finetuned and t.macs <= most]
    if not affordable:
        with pytest.raises(OptionError, match="--max-macs"):
            choose(found, budget)
        return
    taken = choose(found, budget)
    assert taken.macs <= most
    least = min(t.drop["psnr_drop"] for t in affordable)
    if not near(least, loss):
        assert taken.drop["psnr_drop"] == least
        return
    near_enough = [t for t in affordable if near(t.drop["psnr_drop"], loss)]
    alike = [t for t in near_enough if t.drop["psnr_drop"] <= least + LOSS_TIE]
    assert taken in alike
    assert taken.latency_ms <= LATENCY_TIE * min(t.latency_ms for t in alike)


@given(trials, LOSSES)
def test_without_a_limit_on_cost_a_fast_one_is_taken(found, loss):
    finetuned = [t for t in found if t.finetuned]
    if not finetuned:
        return
    taken = choose(found, Budget({}, loss))
    fitting = [t for t in finetuned if near(t.drop["psnr_drop"], loss)]
    if fitting:
        assert taken in fitting
        assert taken.latency_ms <= 1.1 * min(t.latency_ms for t in fitting)
    else:
        assert taken.drop["psnr_drop"] == min(t.drop["psnr_drop"] for t in finetuned)


def test_a_design_counts_as_long_as_the_whole_training_may_bring_it_within_the_limits():
    budget = Budget({"macs": 400}, 0.05, 0.5)
    short = trial(0, 300, 0.3)  # it has won 0.7 dB and is expected to win 0.35 more
    assert budget.may_hold(short)
    assert not budget.holds(short)
    assert not Budget({}, -0.06).may_hold(short)
    assert not Budget({"macs": 200}, 0.05).may_hold(short)
    assert not budget.may_hold(trial(0, 300, None))
    missed = replace(short, finished={"psnr_drop": 0.06, "sam_drop": 0.0})
    assert not budget.may_hold(missed)
    assert budget.may_hold(replace(short, finished={"psnr_drop": 0.04, "sam_drop": 0.0}))
    unsure = {"psnr_drop": 0.0, "sam_drop": 0.0, "psnr_high": 0.2, "sam_high": 0.1}
    assert budget.may_hold(replace(short, finetuned=unsure))
    assert not budget.holds(replace(short, finetuned=unsure))


def healed(number: int, gains: list[float]) -> Trial:
    """A trial that gains so much on windows of one band, where the reference has 20 dB, 5 deg."""
    drop = {"psnr_drop": -float(np.mean(gains)), "sam_drop": 0.0}
    windows = {"psnr": [[20.0 + gain] for gain in gains], "sam": [5.0] * len(gains)}
    return replace(trial(number, 900 - number, 0.0, 10.0 - number), finetuned=drop, windows=windows)


def test_where_healing_gains_on_the_reference_the_best_that_was_healed_alike_is_what_counts():
    best, near, far = healed(0, [0.1, 0.5]), healed(1, [0.08, 0.47]), healed(2, [0.1, 0.2])
    found = against_the_best([far, best, near], 0)
    assert [one.number for one in found] == [2, 0, 1]
    assert [one.behind["psnr_drop"] for one in found] == pytest.approx([0.15, 0.0, 0.025])
    budget = Budget({}, 0.05, confidence=0)
    assert [budget.holds(one) for one in found] == [False, True, True]
    assert [budget.may_hold(one) for one in found] == [False, True, True]
    assert choose(found, budget).number == 1  # the fastest of those; far gains on the reference
    sure = against_the_best([far, best, near], 90)
    assert sure[2].behind["psnr_high"] == pytest.approx(0.03)  # its worse window: they are paired


def test_where_nothing_gains_the_reference_is_what_counts():
    found = against_the_best([healed(0, [-0.04, 0.0]), healed(1, [-0.2, 0.0])], 0)
    assert [one.behind for one in found] == [None, None]
    assert [Budget({}, 0.05).holds(one) for one in found] == [True, False]


def test_of_close_latencies_the_larger_design_is_taken_only_where_it_is_shown_to_be_faster():
    small, large = trial(0, 300, 0.0, 10.0), trial(1, 500, 0.0, 9.5)
    asked: list[tuple[int, int]] = []

    def faster(first: Trial, second: Trial) -> bool:
        asked.append((first.number, second.number))
        return len(asked) > 1

    budget = Budget({}, 0.05)
    assert choose([large, small], budget) is small
    assert choose([large, small], budget, faster) is small
    assert choose([large, small], budget, faster) is large
    assert asked == [(0, 1), (0, 1)]
    assert choose([trial(1, 500, 0.0, 8.0), small], budget, faster).number == 1
    assert choose([trial(1, 500, 0.0, 12.0), small], budget, faster) is small
    assert len(asked) == 2  # what is clear is not compared


def test_the_refusal_names_what_came_closest():
    with pytest.raises(OptionError, match=r"of 2 keeps to --max-params 1: design 1 .* 2 param"):
        choose([trial(0, 500, 0.0), trial(1, 200, None)], Budget({"params": 1}, 0.1))


@given(trials)
def test_front_holds_exactly_what_nothing_beats(found):
    def figures(t: Trial) -> tuple[float, ...]:
        return t.latency_ms, t.macs, t.drop["psnr_drop"]

    finetuned = [t for t in found if t.finetuned]
    kept = front(found)
    for one in finetuned:
        beaten = any(
            figures(other) != figures(one)
            and all(a <= b for a, b in zip(figures(other), figures(one), strict=True))
            for other in finetuned
        )
        assert (one in kept) != beaten
    assert [t.macs for t in kept] == sorted(t.macs for t in kept)


def test_a_trial_survives_json():
    one = trial(3, 700, 0.02)
    assert typed(Trial, json.loads(json.dumps(one.to_dict()))) == one
