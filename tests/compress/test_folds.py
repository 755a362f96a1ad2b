"""What candidates lose on folds, against sums that share no code with the library."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from edgesr.compress.candidates import (
    CalibratedModel,
    SurgeryOptions,
    calibrate,
    enumerate_candidates,
    measure_candidates,
)
from edgesr.cube import Window
from edgesr.cube.folds import FOLDS
from edgesr.evaluation.interval import ENOUGH_BLOCKS, bootstrap_interval
from edgesr.loading.workload import SceneOptions, Workload, load_workload
from edgesr.surgery import Candidate, require_sites, spectrum

RANK = 8


@pytest.fixture
def workload(workplace, materials) -> Workload:
    """The bilinear network on a cube of 72 x 72, which has one budget block."""
    scene = SceneOptions(str(materials.cube), patch=16)
    return load_workload(scene, "small_networks:bilinear", materials.bilinear)


def calibrated(
    workload: Workload, seed: int | None = 0, *, with_folds: bool = True
) -> tuple[CalibratedModel, list[Candidate]]:
    sites = require_sites(workload.model, workload.example())
    spectra = {site.name: spectrum(workload.model, site) for site in sites}
    candidates = enumerate_candidates(SurgeryOptions(settings={"rank": RANK}), sites, spectra)
    found = calibrate(workload, sites, spectra, ["lowrank"], seed, with_folds=with_folds)
    return found, candidates


def measured(found: CalibratedModel, candidates: list[Candidate], tmp_path, confidence=90.0):
    tile = found.workload.example(8)
    [one] = measure_candidates(found, candidates, tile, 1, tmp_path, confidence)
    return one


def pixels(workload: Workload, window: Window) -> tuple[Tensor, Tensor]:
    """LR and HR [1, B, h, w] of a window, from the digital numbers."""
    scene = workload.scene
    low, high = (np.array(scene.normalisation.to_dict()[name]) for name in ("lower", "upper"))
    hr = ((scene.cube.data[window.slices] - low) / (high - low)).clip(0, 1).astype(np.float32)
    hr = torch.from_numpy(hr.transpose(2, 0, 1).copy())[None]
    return F.interpolate(hr, scale_factor=0.25, mode="bicubic", antialias=True).clamp(0, 1), hr


def seen_windows(workload: Workload, windows: tuple[Window, ...]) -> Iterator[np.ndarray]:
    """What the upsampler's kernels see in them [positions, 9 C]."""
    for window in windows:
        features = workload.model.head(pixels(workload, window)[0])
        wide = F.pad(features, (1, 1, 1, 1), mode="replicate")
        yield F.unfold(wide, 3)[0].T.double().numpy()


def upsampled(lr: Tensor, workload: Workload, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The network's answer with another dense upsampler."""
    wide = F.pad(workload.model.head(lr), (1, 1, 1, 1), mode="replicate").double()
    kernel = torch.from_numpy(weight).reshape(len(weight), -1, 3, 3)
    return F.pixel_shuffle(F.conv2d(wide, kernel, torch.from_numpy(bias)), 4).clamp(0, 1).numpy()


@torch.no_grad()
def losses_by_hand(workload: Workload, fold, old: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Loss of PSNR [bands] on the fold of the best operator of that rank on what lies around it."""
    weight, bias = old
    x = np.concatenate(list(seen_windows(workload, fold.train)))
    mean, outputs = x.mean(0), (x - x.mean(0)) @ weight.T
    directions = np.linalg.eigh(outputs.T @ outputs)[1][:, -RANK:]  # principal ones of the output
    less = directions @ (directions.T @ weight)
    networks = ((weight, bias), (less, bias + (weight - less) @ mean))
    [window] = fold.budget
    around = fold.surroundings[window]
    lr, hr = pixels(workload, around)
    row, col = window.row - around.row, window.col - around.col
    inner = (..., slice(row, row + window.height), slice(col, col + window.width))
    before, after = (
        -10 * np.log10(((upsampled(lr, workload, *one)[inner] - hr[inner].numpy()) ** 2)
                       .mean((0, 2, 3)))
        for one in networks
    )  # fmt: skip
    return before - after


def test_the_interval_is_that_of_the_folds_and_the_budget_block(workload, tmp_path):
    found, candidates = calibrated(workload)
    assert len(workload.scene.budget) == 1
    assert len(found.folds) == FOLDS
    layer = workload.model.upsampler
    old = (
        layer.weight.detach().flatten(1).double().numpy(),
        layer.bias.detach().double().numpy(),
    )
    parts = [workload.scene, *(fold.workload.scene for fold in found.folds)]
    each = np.stack([losses_by_hand(workload, part, old) for part in parts])
    one = measured(found, candidates, tmp_path)
    assert one.folds == FOLDS
    assert one.psnr_drop == pytest.approx(each.mean(), abs=2e-4)
    assert abs(each.mean()) > 0.003
    interval = one.interval["psnr_low"], one.interval["psnr_high"]
    assert interval == pytest.approx(bootstrap_interval(each), abs=5e-4)


def test_in_weight_space_the_folds_have_the_same_network(workload, tmp_path):
    found, candidates = calibrated(workload, seed=None)
    students = [one.operate(candidates[0]) for one in (found, *found.folds)]
    states = [student.state_dict() for student in students]
    assert all(
        torch.equal(state[name], value) for state in states for name, value in states[0].items()
    )
    assert measured(found, candidates, tmp_path).interval


def test_the_student_is_calibrated_on_the_whole_training_part(workload):
    found, candidates = calibrated(workload)
    alone, _ = calibrated(workload, with_folds=False)
    assert alone.folds == ()
    for name, value in alone.operate(candidates[0]).state_dict().items():
        assert torch.equal(found.operate(candidates[0]).state_dict()[name], value)


def test_a_larger_scene_has_no_folds(workplace, materials, tmp_path):
    np.save("large.npy", np.tile(np.load(materials.cube), (2, 2, 1)))
    scene = SceneOptions("large.npy", patch=16)
    large = load_workload(scene, "small_networks:bilinear", materials.bilinear)
    found, candidates = calibrated(large)
    assert len(large.scene.budget) >= ENOUGH_BLOCKS
    assert found.folds == ()
    one = measured(found, candidates, tmp_path)
    assert one.folds == 0
    assert one.interval
