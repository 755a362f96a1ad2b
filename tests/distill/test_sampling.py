from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from distill_fakes import scene
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.cube.augment import augment
from edgesr.cube.cube import Window
from edgesr.cube.degrade import degrade
from edgesr.distill import sampling
from edgesr.distill.sampling import Patch, PatchSampler
from edgesr.errors import DataError

CPU = torch.device("cpu")


def sampler(*scenes, jitter: bool = True) -> PatchSampler:
    return PatchSampler(scenes, CPU, jitter=jitter)


def places(plan) -> list[tuple[int, int]]:
    return [(patch.row, patch.column) for step in plan for patch in step]


def test_fixed_windows_are_all_used_once_before_any_is_used_again():
    target = scene()
    plan = list(sampler(target).plan(0, 0, steps=5, batch=2, others=0.5))
    windows = sorted((w.row, w.col) for w in target.train)
    drawn = places(plan)
    assert sorted(drawn[:5]) == sorted(drawn[5:]) == windows
    assert drawn[:5] != drawn[5:]


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 1000))
def test_jittered_patches_stay_inside_the_training_regions(seed, epoch):
    target = scene(train_regions=(Window(0, 0, 16, 20), Window(3, 2, 29, 17)))
    for row, column in places(sampler(target).plan(seed, epoch, 10, 4, others=0)):
        patch = Window(row, column, 16, 16)
        assert any(patch.inside(region) for region in target.train_regions)


def test_jitter_reaches_every_position_about_equally():
    target = scene(train_regions=(Window(0, 0, 17, 17), Window(10, 10, 16, 17)))
    drawn = places(sampler(target).plan(1, 0, 300, 4, others=0))
    positions, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(positions) == 4 + 2
    assert counts.min() > 150
    assert counts.max() < 250


def test_jitter_can_be_off_and_needs_regions_that_hold_a_patch():
    windows = {(w.row, w.col) for w in scene().train}
    off = sampler(scene(regions=True), jitter=False)
    assert set(places(off.plan(0, 0, 9, 4, others=0))) == windows
    narrow = sampler(scene(train_regions=(Window(0, 0, 15, 40),)))
    assert set(places(narrow.plan(0, 0, 9, 4, others=0))) == windows


def test_patches_with_nodata_are_never_drawn():
    mask = np.zeros((48, 32), bool)
    mask[20, 20] = True
    target = scene(regions=True, mask=mask)
    target = dataclasses.replace(target, train=(Window(0, 0, 16, 16),))
    for row, column in places(sampler(target).plan(0, 0, 100, 4, others=0)):
        assert not mask[row : row + 16, column : column + 16].any()
    mask[:] = True
    mask[:16, :16] = False
    assert set(places(sampler(target).plan(0, 0, 3, 2, others=0))) == {(0, 0)}


def test_plans_depend_on_seed_and_epoch_alone():
    one, other = sampler(scene(regions=True)), sampler(scene(regions=True))
    other.plan(9, 9, 2, 2, others=0)
    assert list(one.plan(1, 2, 5, 4, others=0)) == list(other.plan(1, 2, 5, 4, others=0))
    assert list(one.plan(1, 2, 5, 4, others=0)) != list(one.plan(1, 3, 5, 4, others=0))
    assert list(one.plan(1, 2, 5, 4, others=0)) != list(one.plan(2, 2, 5, 4, others=0))


def test_other_scenes_get_their_share_of_every_batch():
    three = sampler(scene(), scene(seed=1), scene(seed=2))
    plan = list(three.plan(0, 0, steps=40, batch=8, others=0.25))
    assert all(sum(patch.scene > 0 for patch in step) == 2 for step in plan)
    assert {patch.scene for step in plan for patch in step} == {0, 1, 2}
    alone = list(three.plan(0, 0, steps=4, batch=8, others=0.0))
    assert {patch.scene for step in alone for patch in step} == {0}


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "read"])
@pytest.mark.parametrize("method", ["bicubic", "area"])
def test_batches_are_augmented_normalised_windows(monkeypatch, cached, method):
    if not cached:
        monkeypatch.setattr(sampling, "CACHE_SHARE", 0.0)
    target = scene(degradation=method)
    lr, hr = sampler(target).load([Patch(0, 4, 8, turn) for turn in range(8)])
    crop = torch.from_numpy(target.cube.data[4:20, 8:24] / 1000).float().permute(2, 0, 1)
    expected = {tuple(augment(crop, crop, k)[0].flatten().tolist()) for k in range(8)}
    assert {tuple(image.flatten().tolist()) for image in hr} == expected
    torch.testing.assert_close(lr, degrade(hr, 2, method).clamp(0, 1))
    assert lr.is_contiguous(memory_format=torch.channels_last)


def test_scenes_may_be_degraded_differently():
    lr, hr = sampler(scene(), scene(seed=1, degradation="area")).load(
        [Patch(1, 0, 0, 0), Patch(0, 0, 0, 0)]
    )
    torch.testing.assert_close(lr[:1], degrade(hr[:1], 2, "area"))
    torch.testing.assert_close(lr[1:], degrade(hr[1:], 2, "bicubic").clamp(0, 1))


@pytest.mark.parametrize(
    ("scenes", "reason"),
    [
        ((), "at least one scene"),
        ((dataclasses.replace(scene(), train=()),), "no training windows"),
        ((scene(), scene(bands=4)), "4 bands"),
        ((scene(), scene(scale=4)), "scale 4"),
        ((scene(), dataclasses.replace(scene(), train=(Window(0, 0, 8, 8),))), "one size"),
    ],
)
def test_scenes_that_do_not_go_together_are_refused(scenes, reason):
    with pytest.raises(DataError, match=reason):
        sampler(*scenes)
