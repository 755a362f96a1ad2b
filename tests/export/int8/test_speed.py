"""Decisions on times that are known; no test here depends on a clock."""

from __future__ import annotations

import numpy as np
import pytest
from edgesr_export import paired
from edgesr_export.int8 import speed
from edgesr_export.int8.layers import Layer
from edgesr_export.int8.speed import faster_groups, group_layers

LARGE, MIDDLE, SMALL = (Layer(name, "Conv", (size, 8, 1, 1)) for name, size in
                        (("large", 64), ("middle", 32), ("small", 16)))  # fmt: skip
TWIN = Layer("twin", "Conv", (64, 8, 1, 1))


def compare_by(rule, asked):
    """The comparison itself, of calls that take the time of a rule."""

    def compare(first, second, *, seconds):
        asked.append((first, second))
        now = 0

        def call(chosen):
            nonlocal now
            now += int(rule(chosen) * 1e6)

        return paired.compare(
            lambda: call(first), lambda: call(second), seconds=seconds, clock=lambda: now
        )

    return compare


@pytest.fixture
def timed(monkeypatch):
    """Times come from a rule instead of a run."""

    def set_rule(rule, asked=None):
        asked = [] if asked is None else asked
        monkeypatch.setattr(speed, "caller", lambda bench, chosen, image: frozenset(chosen))
        monkeypatch.setattr(speed, "compare", compare_by(rule, asked))

        def decide(*layers, whole=False):
            found = faster_groups(None, layers, np.zeros(1), 1)
            return found if whole else {group.layers: group.pays for group in found}

        return decide

    return set_rule


def test_layers_of_equal_shape_are_one_group():
    assert group_layers([LARGE, SMALL, TWIN]) == [[LARGE, TWIN], [SMALL]]


def test_what_saves_time_joins(timed):
    decide = timed(lambda chosen: 10 - 3 * ("large" in chosen) + 2 * ("small" in chosen))
    assert decide(SMALL, LARGE, TWIN) == {("large", "twin"): True, ("small",): False}


def test_less_than_noise_is_no_gain(timed):
    assert timed(lambda chosen: 10 - 0.05 * len(chosen))(LARGE) == {("large",): False}


@pytest.mark.parametrize(("with_it", "words"), [(9.95, "equally fast"), (12, "no faster")])
def test_a_group_that_stays_in_float_says_why(timed, with_it, words):
    (group,) = timed(lambda chosen: with_it if chosen else 10)(LARGE, whole=True)
    assert words in group.why_not
    assert f"{with_it / 10:.2f}" in group.why_not


def test_a_group_that_pays_beside_a_later_one_is_asked_again(timed):
    def rule(chosen):
        return 10 - 3 * ("small" in chosen) - 2 * ({"large", "small"} <= chosen)

    assert timed(rule)(LARGE, SMALL) == {("large",): True, ("small",): True}


def test_what_makes_no_difference_is_asked_once_more_together(timed):
    asked = []
    decide = timed(lambda chosen: 10, asked)
    assert decide(LARGE, SMALL) == {("large",): False, ("small",): False}
    assert asked[2:] == [(frozenset(), frozenset({"large", "small"}))]


def test_gains_too_small_to_be_seen_alone_are_seen_together(timed):
    decide = timed(lambda chosen: 10 - 0.08 * len(chosen))
    assert decide(LARGE, MIDDLE, SMALL) == {("large",): True, ("middle",): True, ("small",): True}


def test_what_is_slower_alone_stays_out_of_that(timed):
    decide = timed(lambda chosen: 10 - 0.08 * len(chosen) + 2 * ("small" in chosen))
    assert decide(LARGE, MIDDLE, SMALL) == {("large",): True, ("middle",): True, ("small",): False}
