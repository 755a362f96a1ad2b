"""Quality of networks that are no torch modules, against that of the module itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from edgesr_export.runtime import session

from edgesr.cube.degrade import bicubic_upsample
from edgesr.deploy.quality import calibration_tiles, on_budget, on_test, reference_tiles
from edgesr.evaluation.evaluate import evaluate, evaluate_bicubic


def test_a_session_has_the_quality_of_its_module(subject):
    run = session(subject.source)
    found = on_budget(subject.scene)(run)
    windows = len(subject.scene.budget)
    assert found["mpsnr"].shape == (windows, len(subject.scene.bands))
    assert found["sam"].shape == (windows,)
    measured = {name: values.mean() for name, values in found.items()}
    expected = evaluate(subject.network, subject.scene, "budget")
    assert measured == pytest.approx({name: expected[name] for name in measured}, rel=1e-4)
    assert on_test(run, subject.scene) == pytest.approx(
        evaluate(subject.network, subject.scene), rel=1e-4
    )


def test_any_callable_is_judged(subject):
    def bicubic(image: np.ndarray) -> np.ndarray:
        return bicubic_upsample(torch.from_numpy(image), subject.scene.scale).numpy()

    assert on_test(bicubic, subject.scene) == pytest.approx(
        evaluate_bicubic(subject.scene), rel=1e-6
    )


def test_tiles_are_training_patches_and_nothing_else(subject):
    scene = subject.scene
    known = [scene.pair(window)[0].numpy() for window in scene.train]
    for tile in (*calibration_tiles(scene), *(one.numpy() for one in reference_tiles(scene))):
        assert any(np.array_equal(tile[0], one) for one in known)
    assert len(calibration_tiles(scene)) == min(12, len(scene.train))
    assert len(reference_tiles(scene)) == 3
