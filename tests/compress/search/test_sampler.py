from __future__ import annotations

import math

import pytest
from made_trials import trial

from edgesr.compress.search.budget import Budget
from edgesr.compress.search.design import Design
from edgesr.compress.search.sampler import propose
from edgesr.compress.search.trial import Trial

pytest.importorskip("optuna", reason="needs the extra 'search'")

LENGTHS = {"upsampler": 3, "removed": 9, "error": 4}
BUDGET = Budget({"macs": 500}, 0.1)


def fill(count: int, seed: int = 0, start: tuple[Trial, ...] = ()) -> list[Trial]:
    """Search a made-up network: what is left out costs quality, the more the worse."""
    found = list(start)
    while len(found) < count:
        design = propose(found, LENGTHS, BUDGET, seed)
        if design is None:
            break
        less = design.removed / 8 + design.error / 8 + design.upsampler / 8
        made = trial(len(found), round(1000 * math.exp(-less)), 0.2 * less**2 - 0.02)
        found.append(Trial(**{**vars(made), "design": design}))
    return found


def test_proposals_stay_in_range_and_never_repeat():
    designs = [t.design for t in fill(25)]
    assert len(set(designs)) == 25
    for design in designs:
        assert all(0 <= getattr(design, name) < length for name, length in LENGTHS.items())


def test_a_resumed_search_goes_on_as_if_it_had_not_been_interrupted():
    whole = fill(15, seed=4)
    assert fill(15, seed=4, start=tuple(whole[:9])) == whole
    assert fill(15, seed=5) != whole


def test_a_small_space_is_exhausted_and_says_so():
    tiny = {"upsampler": 1, "removed": 2, "error": 1}
    found = [trial(0, 900, 0.0), trial(1, 800, 0.0)]  # their designs are (0, 0, 0) and (0, 1, 0)
    assert propose(found, tiny, BUDGET, 0) is None
    assert propose(found[:1], tiny, BUDGET, 0) == Design(0, 1, 0)


def test_the_estimator_learns_where_the_budget_is():
    """Of the later proposals more keep to the limit on MACs than chance would."""
    later = [t for t in fill(40) if t.number >= 12]
    chance = [
        round(1000 * math.exp(-(u + r + e) / 8)) <= 500
        for u in range(3)
        for r in range(9)
        for e in range(4)
    ]
    assert sum(t.macs <= 500 for t in later) / len(later) > sum(chance) / len(chance)
