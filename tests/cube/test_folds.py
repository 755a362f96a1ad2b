"""Folds of a training region: which pixels are measured, and which may calibrate."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgesr.cube import Cube, make_scene
from edgesr.cube.folds import FOLDS, folds
from edgesr.cube.held_out import grown


def cube(height: int, width: int, nodata: float | None = None) -> Cube:
    """Two bands of noise."""
    values = np.random.default_rng(0).integers(1, 4000, (height, width, 2)).astype(np.uint16)
    return Cube(values, name="noise", nodata=nodata)


@pytest.mark.parametrize(
    ("height", "width", "scale", "guard"),
    [
        (48, 48, 2, 2),
        (48, 48, 4, 0),  # too small for one
        (64, 64, 4, 4),
        (72, 56, 3, 3),
        (96, 300, 4, 4),
        (400, 96, 4, 4),
        (96, 96, 8, 0),
    ],
)
def test_what_a_fold_is_measured_on_calibrates_nothing(height, width, scale, guard):
    scene = make_scene(cube(height, width), scale=scale, bands="all")
    found = folds(scene)
    assert len(found) == FOLDS
    seen = np.zeros((height, width), int)
    for fold in found:
        (part,) = fold.budget
        seen[part.slices] += 1
        near = grown(part, guard)
        for window in fold.train:
            assert not window.intersects(near)
            assert min(window.height, window.width) >= 4 * scale
            assert window.height % scale == window.width % scale == 0
        for one, other in itertools.combinations(fold.train, 2):
            assert not one.intersects(other)
        for window in (part, *fold.train):
            assert any(window.inside(region) for region in scene.train_regions)
            for held in (*scene.test, *scene.budget, *scene.tuning):
                assert not window.intersects(held)
        around = fold.surroundings[part]
        assert part.inside(around)
        assert not any(around.intersects(test) for test in scene.test)
        assert fold.test == scene.test
        assert fold.normalisation is scene.normalisation
    assert seen.max() == 1
    region = max(scene.train_regions, key=lambda one: one.pixels)
    touching = [
        window.intersects(grown(fold.budget[0], scale)) for fold in found for window in fold.train
    ]
    assert any(touching) == (guard == 0)
    assert seen.sum() >= 0.6 * region.pixels


def test_there_are_none_where_training_patches_are_fixed():
    whole = make_scene(cube(64, 64), scale=4, bands="all")
    assert folds(whole)
    holed = cube(64, 64, nodata=0)
    holed.data[60, 20] = 0
    scene = make_scene(holed, scale=4, bands="all", patch=16)
    assert scene.train
    assert folds(scene) == ()
