"""How much of a distillation is kept."""

from __future__ import annotations

import copy

import pytest
import torch

from edgesr.compress.candidates import (
    CalibratedModel,
    SurgeryOptions,
    calibrate,
    enumerate_candidates,
)
from edgesr.compress.search.budget import Budget
from edgesr.compress.stages.distil import SHARES, keep_within
from edgesr.distill.trainer import TrainResult
from edgesr.evaluation.drop import block_figures, drop_between, worst
from edgesr.evaluation.evaluate import evaluate
from edgesr.history import MPSNR, SAM
from edgesr.loading.workload import SceneOptions, load_workload
from edgesr.surgery import Candidate, require_sites, spectrum

WHOLE = {"epoch": 3, MPSNR: 1.0, SAM: 1.0, "weights": "own"}


@pytest.fixture(scope="module")
def operated(materials) -> tuple[CalibratedModel, Candidate]:
    """The bilinear network and a surgery on it."""
    scene = SceneOptions(str(materials.cube), patch=16)
    workload = load_workload(scene, "small_networks:bilinear", materials.bilinear)
    sites = require_sites(workload.model, workload.example())
    spectra = {site.name: spectrum(workload.model, site) for site in sites}
    (candidate,) = enumerate_candidates(SurgeryOptions(settings={"rank": 40}), sites, spectra)
    return calibrate(workload, sites, spectra, ["lowrank"]), candidate


@pytest.fixture
def moved(operated) -> TrainResult:
    """The closed form with noise on its weights, as if a training had led there."""
    calibrated, candidate = operated
    model = calibrated.operate(candidate)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * weight.std() * torch.randn(weight.shape, generator=generator)
    return TrainResult(model, [], dict(WHOLE))


def loss(calibrated: CalibratedModel, model: torch.nn.Module) -> dict[str, float]:
    """On budget windows alone, by hand."""
    scene = calibrated.workload.scene
    before, after = (block_figures(one, scene) for one in (calibrated.workload.model, model))
    return {**drop_between(before, after), "folds": 0}


def on_the_line(calibrated, candidate, trained, share) -> torch.nn.Module:
    """The network at a share of the way, weight by weight."""
    model = copy.deepcopy(trained)
    start = calibrated.operate(candidate).state_dict()
    model.load_state_dict(
        {
            name: (1 - share) * start[name] + share * end
            for name, end in trained.state_dict().items()
        }
    )
    return model


def test_all_is_kept_that_keeps_to_the_budget(operated, moved):
    calibrated, candidate = operated
    before = copy.deepcopy(moved.model.state_dict())
    kept, drop = keep_within(Budget({}, 99.0), moved, candidate, calibrated)
    assert kept.best == WHOLE
    assert drop == loss(calibrated, kept.model)
    for name, value in kept.model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("index", range(3))
def test_the_longest_way_within_the_budget_is_kept(operated, moved, index):
    calibrated, candidate = operated
    ends = [worst(loss(calibrated, on_the_line(calibrated, candidate, moved.model, share)), "psnr")
            for share in (1.0, *SHARES)]  # fmt: skip
    assert ends == sorted(ends, reverse=True)  # noise does harm, the more the worse
    limit = (ends[index] + ends[index + 1]) / 2
    expected = on_the_line(calibrated, candidate, moved.model, SHARES[index])
    kept, drop = keep_within(Budget({}, limit), moved, candidate, calibrated)
    assert kept.best["share"] == SHARES[index]
    assert kept.best["epoch"] == WHOLE["epoch"]
    assert drop == loss(calibrated, kept.model)
    assert worst(drop, "psnr") <= limit
    for name, value in kept.model.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name])
    found = evaluate(kept.model, calibrated.workload.scene, "tuning")
    assert kept.best[MPSNR] == pytest.approx(found["mpsnr"], abs=1e-4)


def test_where_none_of_it_does_the_closed_form_is_kept(operated, moved):
    calibrated, candidate = operated
    closed = calibrated.operate(candidate)
    limit = worst(loss(calibrated, closed), "psnr")
    kept, drop = keep_within(Budget({}, limit), moved, candidate, calibrated)
    assert kept.best["epoch"] == 0
    assert "share" not in kept.best
    assert drop == loss(calibrated, closed)
    for name, value in kept.model.state_dict().items():
        assert torch.equal(value, closed.state_dict()[name])


def test_the_angle_has_a_limit_too(operated, moved):
    calibrated, candidate = operated
    limit = worst(loss(calibrated, calibrated.operate(candidate)), "sam")
    kept, drop = keep_within(Budget({}, 99.0, limit), moved, candidate, calibrated)
    assert kept.best["epoch"] == 0
    assert worst(drop, "sam") <= limit


def test_what_was_asked_for_is_kept_whatever_it_loses(operated, moved):
    calibrated, candidate = operated
    kept, drop = keep_within(None, moved, candidate, calibrated)
    assert kept.best == WHOLE
    assert drop == loss(calibrated, moved.model)
