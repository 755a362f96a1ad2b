"""Stages that are called by themselves; the whole way is on ``docs/stages.md``, which is run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from edgesr_export.paired import Paired

from edgesr.compress.candidates import (
    CalibratedModel,
    SurgeryOptions,
    calibrate,
    enumerate_candidates,
)
from edgesr.compress.search.budget import Budget
from edgesr.compress.stages.select import REFERENCE, select_surgery
from edgesr.compress.stages.students import StudentOptions, make_students
from edgesr.distill.trainer import TrainConfig
from edgesr.errors import OptionError
from edgesr.loading.workload import SceneOptions, load_workload
from edgesr.surgery import Candidate, require_sites, spectrum

SURGERY = SurgeryOptions(settings={"rank": 16})
TRAINING = TrainConfig(epochs=1, steps_per_epoch=1, batch=2)
OPTIONS = StudentOptions(SURGERY, Budget({}, psnr_drop=9.0), TRAINING)


@pytest.fixture
def begun(workplace, materials) -> tuple[CalibratedModel, list[Candidate]]:
    """The bilinear network with its one candidate, as if it had been measured."""
    scene = SceneOptions(str(materials.cube), patch=16)
    workload = load_workload(scene, "small_networks:bilinear", materials.bilinear)
    sites = require_sites(workload.model, workload.example())
    spectra = {site.name: spectrum(workload.model, site) for site in sites}
    candidates = enumerate_candidates(SURGERY, sites, spectra)
    calibrated = calibrate(workload, sites, spectra, ["lowrank"], seed=None)
    measured = [replace(one, psnr_drop=0.0, sam_drop=0.0, latency_ms=1.0) for one in candidates]
    return calibrated, measured


def test_students_are_trained_anew_where_nothing_is_to_be_kept(begun, workplace):
    """As a cell of a notebook is run again with another number of epochs."""
    calibrated, candidates = begun
    teacher = calibrated.workload.model
    for epochs in (1, 2):
        options = replace(OPTIONS, training=replace(TRAINING, epochs=epochs))
        students = make_students(options, calibrated, candidates, teacher, workplace)
        assert len(students.student.training.history) == epochs
    assert not list(workplace.iterdir())


def test_students_go_on_from_what_was_kept(begun, workplace):
    calibrated, candidates = begun
    teacher = calibrated.workload.model
    kept = replace(OPTIONS, checkpoints=workplace)
    first, again = (
        make_students(kept, calibrated, candidates, teacher, workplace).student for _ in range(2)
    )
    assert [path.name for path in workplace.iterdir()] == ["lowrank-16.checkpoint"]
    assert again.training.history == first.training.history  # with its seconds: not trained again
    for name, value in first.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)
    other = replace(kept, training=replace(TRAINING, learning_rate=1.0))
    with pytest.raises(OptionError, match="belongs to another training"):
        make_students(other, calibrated, candidates, teacher, workplace)


def test_the_surgery_is_compared_with_the_reference_before_it_is_taken(
    begun, workplace, plain_export, monkeypatch
):
    """The reference is a candidate like the others: what is no faster is taken for its size."""
    calibrated, candidates = begun
    tile, asked = calibrated.workload.example(8), []

    def compare(first, second, *, margin):
        asked.append((first, second))
        return Paired((1.0,) * 8, (1.1,) * 8, margin, 0)

    monkeypatch.setattr("edgesr.compress.stages.select.compare", compare)
    found = select_surgery(SURGERY, OPTIONS.budget, calibrated, candidates, tile, 1, workplace)
    assert found.candidate is candidates[0]
    (pair,) = found.compared
    assert (pair.first, pair.second) == (REFERENCE, candidates[0].label)
    assert pair.faster is None
    image = tile.numpy()
    for call, network in zip(
        asked[0], (calibrated.workload.model, calibrated.operate(candidates[0])), strict=True
    ):
        with torch.inference_mode():
            assert np.abs(call() - network(torch.from_numpy(image)).numpy()).max() < 1e-4
