from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgesr.compress.stages.pictures import take_pictures
from edgesr.cube import make_scene, read_cube
from edgesr.cube.degrade import bicubic_upsample
from edgesr.report.pictures import TRUTH


@pytest.fixture(scope="module")
def scene(materials):
    return make_scene(read_cube(materials.cube), scale=4, patch=16, bands="2-7")


@pytest.fixture
def networks():
    return {"student": nn.Upsample(scale_factor=4, mode="nearest")}


def test_a_window_is_shown_as_the_scene_gives_it(scene, networks):
    pictures = take_pictures(scene, networks)
    window = scene.test[0]
    lr, hr = scene.pair(window)
    assert list(pictures.images) == [TRUTH, "bicubic", "student"]
    assert pictures.shape == (6, window.height, window.width)
    assert pictures.origin == (window.row, window.col)
    assert not pictures.is_part
    np.testing.assert_array_equal(pictures.images[TRUTH], hr)
    nearest = lr.numpy().repeat(4, axis=1).repeat(4, axis=2)
    np.testing.assert_array_equal(pictures.images["student"], nearest)
    bicubic = bicubic_upsample(lr[None], 4)[0].clamp(0, 1)
    np.testing.assert_array_equal(pictures.images["bicubic"], bicubic)


@pytest.mark.parametrize(("surroundings", "side"), [(2, 12), (0, 10)])
def test_of_a_large_window_the_middle_is_computed_alone(
    scene, networks, monkeypatch, surroundings, side
):
    whole = take_pictures(scene, networks)
    sizes = []
    networks["student"].register_forward_hook(lambda _, given, __: sizes.append(given[0].shape))
    monkeypatch.setattr("edgesr.compress.stages.pictures.SURROUNDINGS", surroundings)
    monkeypatch.setattr("edgesr.report.pictures.MAX_SAMPLES", 6 * 3 * side * side)
    monkeypatch.setattr("edgesr.report.pictures.MAX_SIDE", side)
    part = take_pictures(scene, networks)
    assert part.is_part
    assert part.region == whole.shape[1:]
    assert part.shape == (6, side, side)
    top, left = (a - b for a, b in zip(part.origin, whole.origin, strict=True))
    inside = np.s_[:, top : top + side, left : left + side]
    for name in (TRUTH, "student"):
        np.testing.assert_array_equal(part.images[name], whole.images[name][inside])
    assert max(sizes[0][2:]) <= -(-side // 4) + 1 + 2 * surroundings


def test_the_origin_is_counted_in_the_whole_cube(scene):
    from dataclasses import replace

    from edgesr.cube.cube import Window

    moved = replace(scene, crop=Window(100, 200, *scene.cube.shape[:2]))
    before, after = take_pictures(scene, {}), take_pictures(moved, {})
    assert after.origin == (before.origin[0] + 100, before.origin[1] + 200)


def test_the_network_is_left_in_its_mode(scene):
    network = nn.Sequential(nn.Upsample(scale_factor=4), nn.Dropout(0.9)).train()
    first, second = (take_pictures(scene, {"student": network}) for _ in range(2))
    assert network.training
    assert torch.equal(*(torch.from_numpy(p.images["student"]) for p in (first, second)))
