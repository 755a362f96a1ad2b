"""Decisions on times that are known; no test here depends on a clock."""

from __future__ import annotations

import numpy as np
import pytest
from edgesr_export.int8 import speed
from edgesr_export.int8.layers import Layer
from edgesr_export.int8.speed import GroupSpeed, faster_groups, group_layers, rounds

LARGE, MIDDLE, SMALL = (Layer(name, "Conv", (size, 8, 1, 1)) for name, size in
                        (("large", 64), ("middle", 32), ("small", 16)))  # fmt: skip
TWIN = Layer("twin", "Conv", (64, 8, 1, 1))


@pytest.fixture
def timed(monkeypatch):
    """Times come from a rule instead of a run."""

    def set_rule(rule):
        monkeypatch.setattr(speed, "_caller", lambda bench, chosen, image: frozenset(chosen))
        monkeypatch.setattr(
            speed, "rounds", lambda sets, repeats: {k: np.full(3, rule(v)) for k, v in sets.items()}
        )

        def decide(*layers):
            found = faster_groups(None, layers, np.zeros(1), 1)
            return {group.layers: group.pays for group in found}

        return decide

    return set_rule


def test_layers_of_equal_shape_are_one_group():
    assert group_layers([LARGE, SMALL, TWIN]) == [[LARGE, TWIN], [SMALL]]


def test_what_saves_time_joins(timed):
    decide = timed(lambda chosen: 10 - 3 * ("large" in chosen) + 2 * ("small" in chosen))
    assert decide(SMALL, LARGE, TWIN) == {("large", "twin"): True, ("small",): False}


def test_less_than_noise_is_no_gain(timed):
    assert timed(lambda chosen: 10 - 0.05 * len(chosen))(LARGE) == {("large",): False}


def test_a_group_that_pays_beside_a_later_one_is_asked_again(timed):
    def rule(chosen):
        return 10 - 3 * ("small" in chosen) - 2 * ({"large", "small"} <= chosen)

    assert timed(rule)(LARGE, SMALL) == {("large",): True, ("small",): True}


def test_nothing_is_asked_twice_when_nothing_joined(timed):
    asked = []

    def rule(chosen):
        asked.append(chosen)
        return 10

    assert timed(rule)(LARGE, SMALL) == {("large",): False, ("small",): False}
    assert len(asked) == 4


def test_rounds_are_taken_in_turn_after_a_warm_up():
    now = 0
    calls = []

    def take(name, *milliseconds):
        waits = iter(milliseconds)

        def call():
            nonlocal now
            calls.append(name)
            now += int(next(waits) * 1e6)

        return call

    found = rounds(
        {"a": take("a", 99, 1, 5, 2), "b": take("b", 99, 7, 7, 90)}, 3, clock=lambda: now
    )
    assert calls == ["a", "b"] * 4
    assert {name: list(spent) for name, spent in found.items()} == {"a": [1, 5, 2], "b": [7, 7, 90]}


@pytest.mark.parametrize(("wins", "pays"), [(1.0, True), (0.7, True), (0.6, False)])
def test_a_median_alone_is_not_believed(wins, pays):
    assert GroupSpeed("conv", (1,), ("a",), 2.0, 1.0, wins).pays == pays
