from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from edgesr.errors import OptionError
from edgesr.evaluation.cost import count
from edgesr.models import create_model
from edgesr.surgery.calibrate import all_moments
from edgesr.surgery.candidates import Candidate, choose, prepare, walk
from edgesr.surgery.sites import find_sites
from edgesr.surgery.structure import changes_of


def pavia_site():
    model = nn.Sequential(nn.Conv2d(128, 102 * 16, 3, padding=1), nn.PixelShuffle(4))
    return find_sites(model, torch.rand(1, 128, 4, 4))[0]


def measured(label: str, latency: float, drop: float, params: int = 10, sam: float = 0.0):
    return Candidate(label, 8, {"up": 8}, params, params, None, None, latency, drop, sam)


def test_walk_goes_down_the_ranks_and_up_the_groups():
    candidates = list(walk(pavia_site(), 130))
    ranks = [c.setting for c in candidates if c.method == "lowrank"]
    assert ranks == [136, 128, 96, 64, 48, 32, 24, 16, 8]
    assert [c.setting for c in candidates if c.method == "grouped"] == [2, 4, 8, 16]
    assert all(rank % 8 == 0 for rank in ranks)
    assert candidates[0].label == "lowrank R=136"
    assert candidates[-2].label == "grouped g=8"


def test_published_shares_of_the_cost():
    """R = 32 keeps 4.9 % and g = 8 12.5 % of the weights (100 bands, x4)."""
    model = nn.Sequential(nn.Conv2d(128, 1600, 3, padding=1, bias=False), nn.PixelShuffle(4))
    [site] = find_sites(model, torch.rand(1, 128, 4, 4))
    by_label = {c.label: c for c in walk(site, 32)}
    assert by_label["lowrank R=32"].upsampler_params / site.params == pytest.approx(
        0.048, abs=0.002
    )
    assert by_label["grouped g=8"].upsampler_params * 8 == site.params


def test_a_factorisation_that_is_not_smaller_is_no_candidate():
    site = pavia_site()
    for candidate in walk(site, 1152):
        assert candidate.upsampler_params < site.params
        assert candidate.upsampler_macs < site.macs
    tiny = nn.Sequential(nn.ConvTranspose2d(2, 2, 2, stride=2))
    assert list(walk(find_sites(tiny, torch.rand(1, 2, 4, 4)), 2, ["lowrank"])) == []


def test_one_method_alone():
    assert {c.method for c in walk(pavia_site(), 64, ["grouped"])} == {"grouped"}


def test_several_sites_move_together_within_their_own_start(make, example):
    model = make("edsr")
    sites = find_sites(model, example)
    steps = [c.settings for c in walk(sites, {"up1.0": 30, "up2.0": 10}, ["lowrank"])]
    assert steps[0] == {"up1.0": 32, "up2.0": 16}
    assert steps[-1] == {"up1.0": 8, "up2.0": 8}
    assert len(steps) == len({tuple(step.items()) for step in steps})


@pytest.mark.parametrize("name", ["lkca_net", "dacn"])
def test_a_candidate_costs_the_same_whoever_finds_its_upsampler(name):
    model, example = create_model(name, bands=32, scale=4).eval(), torch.rand(1, 32, 4, 4)
    sites = find_sites(model, example)
    layers = [layer for site in sites for layer in site.layers]
    for candidate in [*walk(sites, 16, ["lowrank"])][:1] + [*walk(sites, 16, ["grouped"])][:1]:
        student, _ = candidate.perform(model, sites)
        assert count(student, (1, 32, 4, 4), layers) == count(student, (1, 32, 4, 4))


def test_predicted_totals_are_those_of_the_operated_network(make, example):
    model = make("edsr")
    sites = find_sites(model, example)
    seen = all_moments(model, sites, [example])
    prepared = prepare(model, sites, ["lowrank", "grouped"], seen)
    for candidate in walk(sites, 24):
        student, changes = candidate.perform(model, sites, prepared)
        after = find_sites(student, example)
        assert candidate.upsampler_params == sum(site.params for site in after)
        assert candidate.upsampler_macs == sum(site.macs for site in after)
        assert changes_of(student) == changes
        assert len(changes) == 2
    assert changes_of(model) == []


def test_the_fastest_within_the_limit_is_chosen():
    slow, fast, lossy = (
        measured("grouped", 9, 0.0),
        measured("lowrank", 5, 0.05),
        measured("lowrank", 1, 0.06, params=5),
    )
    assert choose([slow, fast, lossy], 0.05) is fast
    assert choose([slow, fast, lossy], 0.05, method="grouped") is slow
    assert choose([slow, fast, lossy], 0.1) is lossy


def test_equal_latency_goes_to_fewer_parameters():
    small, large = measured("lowrank", 1.09, 0, params=5), measured("grouped", 1.0, 0, params=20)
    assert choose([large, small], 0.05) is small
    assert choose([dataclasses.replace(large, latency_ms=0.99), small], 0.05).method == "grouped"


def test_of_one_pass_less_work_is_not_slower_whatever_the_clock_said():
    """As it went on a loaded machine: rank 96 in 24 ms, rank 8 of the same graph in 28."""
    large, small = measured("lowrank", 24, 0, params=96), measured("lowrank", 28, 0, params=8)
    assert choose([large, small], 0.05) is small
    assert choose([large, dataclasses.replace(small, psnr_drop=0.06)], 0.05) is large


def test_a_comparison_decides_instead_of_latencies():
    small, large = measured("lowrank", 9, 0, params=5), measured("grouped", 1, 0, params=20)
    asked = []

    def faster(first, second):
        asked.append((first.method, second.method))
        return False

    assert choose([large, small], 0.05, faster=faster) is small
    assert asked == [("lowrank", "grouped")]


def test_sam_may_be_limited_too():
    a, b = measured("lowrank", 1, 0.0, sam=0.5, params=5), measured("lowrank", 2, 0.0, sam=0.1)
    assert choose([a, b], 0.05, max_sam_drop=0.2) is b


def test_the_upper_end_of_an_interval_is_held_against_the_limits():
    sure, unsure = measured("lowrank", 5, 0.04), measured("lowrank", 1, 0.01, params=5, sam=0.1)
    sure.interval = {"psnr_low": 0.03, "psnr_high": 0.05, "sam_low": -0.1, "sam_high": 0.1}
    unsure.interval = {"psnr_low": -0.05, "psnr_high": 0.07, "sam_low": -0.2, "sam_high": 0.4}
    assert choose([sure, unsure], 0.05) is sure
    assert choose([sure, unsure], 0.07) is unsure
    assert choose([sure, unsure], 0.07, max_sam_drop=0.2) is sure
    with pytest.raises(OptionError, match=r"loses least with up to 0\.050 dB; .*--confidence"):
        choose([sure, unsure], 0.03)


def test_unmeasured_candidates_are_passed_over():
    bare = dataclasses.replace(measured("lowrank", 1, 0.0, params=5), psnr_drop=None)
    rated = measured("lowrank", 2, 0.0)
    assert choose([bare, rated], 0.05) is rated


def test_no_candidate_within_the_limits_says_what_would_fit():
    with pytest.raises(OptionError, match=r"lowrank R=8 loses least with 0\.200 dB"):
        choose([measured("lowrank", 1, 0.2), measured("grouped", 1, 0.4)], 0.05)
    with pytest.raises(OptionError, match="nothing to choose"):
        choose([], 0.05)
    with pytest.raises(OptionError, match="auto, lowrank or grouped"):
        choose([measured("lowrank", 1, 0.0)], 0.05, method="tucker")
