from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from edgesr.cube.cube import Cube, Window
from edgesr.cube.degrade import degrade
from edgesr.cube.protocols import get_protocol
from edgesr.cube.sample import indian_pines
from edgesr.cube.sampling import covered
from edgesr.cube.scene import SPLITS, Scene, make_scene
from edgesr.errors import DataError, OptionError


@pytest.fixture(scope="module")
def sample() -> Scene:
    return make_scene(indian_pines())


def test_the_embedded_default_has_fixed_regions(sample: Scene) -> None:
    assert sample.protocol == "indian_pines"
    assert sample.cube.shape[:2] == (144, 144)
    assert sample.test == (Window(0, 0, 48, 144),)
    left = [Window(row, 0, 16, 16) for row in (60, 76, 92)]
    right = [Window(row, 128, 16, 16) for row in (96, 112, 128)]
    assert sample.budget == (*left, *right)
    assert sample.tuning == (Window(120, 0, 24, 16), Window(60, 128, 24, 16))
    trained = covered(sample.train, sample.cube.extent)
    expected = np.zeros((144, 144), dtype=bool)
    expected[60:, 28:116] = True
    np.testing.assert_array_equal(trained, expected)


def test_clean_bands_are_those_whose_neighbours_agree_on_the_training_pixels(sample: Scene) -> None:
    cube = indian_pines()
    expected = np.zeros((145, 145), dtype=bool)
    expected[60:144, 28:116] = True
    neighbours = np.diag(np.corrcoef(cube.data[expected].T.astype(float)), 1)
    weakest = np.minimum(
        np.append(neighbours[0], neighbours), np.append(neighbours, neighbours[-1])
    )
    assert sample.bands == tuple(np.flatnonzero(weakest >= 0.9))
    assert set(range(19, 33)) <= set(sample.bands)
    assert not {0, 1, 2, 55, 60, 61, 73, 74} & set(sample.bands)


def test_normalisation_never_looks_at_tested_pixels(sample: Scene) -> None:
    cube = indian_pines()
    changed = cube.data.copy()
    changed[:48] = 65535
    changed[48:, :28] = changed[48:, 116:] = 0
    again = make_scene(replace(cube, data=changed))
    assert again.bands == sample.bands
    np.testing.assert_array_equal(again.normalisation.upper, sample.normalisation.upper)
    np.testing.assert_array_equal(again.normalisation.lower, sample.normalisation.lower)


def test_pairs_are_normalised_and_degraded(sample: Scene) -> None:
    for split in SPLITS:
        for window in sample.windows(split)[:3]:
            lr, hr = sample.pair(window)
            assert lr.dtype == hr.dtype == torch.float32
            assert min(lr.min(), hr.min()) >= 0
            assert max(lr.max(), hr.max()) <= 1
            truth = degrade(hr[None].double(), 4, "bicubic")[0].clamp(0, 1)
            torch.testing.assert_close(lr.double(), truth, atol=1e-5, rtol=0)
    lower, upper = sample.normalisation.lower, sample.normalisation.upper
    native = (indian_pines().data[10, 20, list(sample.bands)] - lower) / (upper - lower)
    np.testing.assert_allclose(
        sample.pair(sample.test[0])[1][:, 10, 20], native.clip(0, 1), atol=1e-6
    )


def test_a_pair_reads_only_its_window(sample: Scene) -> None:
    data = np.full((144, 144, sample.cube.bands), np.nan)
    data[60:84, 128:144] = sample.cube.data[60:84, 128:144]
    blind = replace(sample, cube=replace(sample.cube, data=data))
    torch.testing.assert_close(blind.pair(sample.tuning[1]), sample.pair(sample.tuning[1]))


def test_a_block_is_judged_alone_and_seen_with_its_surroundings(sample: Scene) -> None:
    for split, samples in ((split, list(sample.samples(split))) for split in ("tuning", "budget")):
        for window, found in zip(sample.windows(split), samples, strict=True):
            around = sample.surroundings[window]
            assert window.inside(around)
            assert (around.height, around.width) == (window.height + 32, window.width + 32)
            assert not any(around.intersects(test) for test in sample.test)
            torch.testing.assert_close(found.hr, sample.pair(window)[1])
            torch.testing.assert_close(found.lr, sample.pair(around)[0])
            torch.testing.assert_close(found.cut(sample.pair(around)[1]), found.hr)
    for found, window in zip(sample.samples("test"), sample.test, strict=True):
        torch.testing.assert_close((found.lr, found.cut(found.hr)), sample.pair(window))


def test_surroundings_hold_no_nodata(make_cube) -> None:
    cube = make_cube(150, 150, dtype="float32", nodata=-9999.0)
    whole = make_scene(cube, patch=32)
    cube.data[80:120, 24] = -9999
    scene = make_scene(cube, patch=32)
    assert scene.budget == whole.budget
    assert any(whole.surroundings[w] != scene.surroundings[w] for w in scene.budget)
    for split in ("tuning", "budget"):
        assert all(torch.isfinite(found.lr).all() for found in scene.samples(split))


def test_a_pair_refuses_windows_that_the_scale_does_not_divide(sample: Scene) -> None:
    with pytest.raises(DataError, match="scale 4 does not divide"):
        sample.pair(Window(0, 0, 18, 16))
    with pytest.raises(DataError, match="not inside"):
        sample.pair(Window(100, 100, 64, 64))


def test_describe_is_json_and_complete(sample: Scene) -> None:
    facts = json.loads(json.dumps(sample.describe(), allow_nan=False))
    assert facts["shape"] == list(sample.cube.shape)
    assert facts["split"]["test"] == {"windows": 1, "sizes": ["48 x 144"]}
    assert facts["normalisation"]["mode"] == "band"
    assert facts["degradation"] == "bicubic"
    assert len(facts["wavelengths_nm"]) == sample.cube.bands
    assert facts["bands"].startswith("4-15,19-32")


def test_auto_patches_reach_the_edges_of_the_training_region(make_cube) -> None:
    scene = make_scene(make_cube(150, 150), patch=52, scale=4)
    regions = get_protocol("auto").regions(150, 150, 4)
    trained = covered(regions.train, scene.cube.extent)
    np.testing.assert_array_equal(covered(scene.train, scene.cube.extent), trained)
    np.testing.assert_array_equal(covered(scene.train_regions, scene.cube.extent), trained)


def test_a_patch_with_nodata_is_never_trained_on(make_cube) -> None:
    cube = make_cube(150, 150, dtype="float32", nodata=-9999.0)
    cube.data[120, 20, 3] = -9999
    cube.data[100, 70, 1] = np.nan
    cube.data[10, 10] = -9999
    scene = make_scene(cube, patch=32)
    invalid = scene.cube.invalid()
    assert invalid.sum() == 3
    for split in SPLITS:
        assert not covered(scene.windows(split), scene.cube.extent)[invalid].any()
    assert len(scene.test) > 1
    assert all(window.height == 32 for window in scene.test)
    assert not covered(scene.train_regions, scene.cube.extent)[invalid].any()
    assert all(torch.isfinite(hr).all() for window in scene.train for hr in scene.pair(window))


def test_clean_leaves_bad_and_missing_and_constant_bands_out(make_cube) -> None:
    cube = make_cube(96, 96, 8, dtype="float32", nodata=-1.0)
    cube.data[:, :, 3] = -1
    cube.data[:, :, 5] = 42
    bad = np.zeros(8, dtype=bool)
    bad[7] = True
    scene = make_scene(replace(cube, bad_bands=bad), patch=32)
    assert scene.bands == (0, 1, 2, 4, 6)


def test_named_bands_are_taken_as_they_are(make_cube) -> None:
    cube = make_cube(96, 96, 8, wavelengths=np.linspace(400, 1000, 8))
    scene = make_scene(cube, patch=32, bands="1-3,6", normalisation="scene", degradation="area")
    assert scene.bands == (1, 2, 3, 6)
    np.testing.assert_array_equal(scene.cube.wavelengths, cube.wavelengths[[1, 2, 3, 6]])
    assert scene.normalisation.mode == "scene"
    trained = covered(scene.train, scene.cube.extent)
    assert scene.normalisation.upper[0] == scene.cube.data[trained].max()


def one_line(message: str, error: type[Exception] = DataError):
    return pytest.raises(error, match=rf"\A[^\n]*{message}[^\n]*\Z")


def test_all_nan_is_refused() -> None:
    with one_line("every pixel is nodata, NaN or infinite; bring another cube"):
        make_scene(Cube(np.full((96, 96, 4), np.nan)))


def test_all_nodata_is_refused() -> None:
    with one_line("every pixel is nodata"):
        make_scene(Cube(np.full((96, 96, 4), -9999, dtype=np.int16), nodata=-9999.0), bands="all")


def test_nodata_everywhere_but_a_corner_is_refused(make_cube) -> None:
    cube = make_cube(96, 96, dtype="float32")
    cube.data[20:] = np.nan
    with one_line("no training window is free of nodata and NaN"):
        make_scene(cube, patch=32)


def test_a_missing_band_is_refused_when_named(make_cube) -> None:
    cube = make_cube(96, 96, dtype="float32")
    cube.data[:, :, 2] = np.nan
    with one_line("band 2 holds only nodata or NaN; .*--bands clean"):
        make_scene(cube, patch=32, bands="all")


@pytest.mark.parametrize("mode", ["scene", "band"])
def test_a_constant_band_is_refused_when_named(make_cube, mode: str) -> None:
    cube = make_cube(96, 96)
    cube.data[:, :, 2] = 77
    with one_line("band 2 is constant"):
        make_scene(cube, patch=32, bands="all", normalisation=mode)


def test_noise_alone_leaves_no_clean_band() -> None:
    data = np.random.default_rng(0).random((96, 96, 5))
    with one_line("no band correlates with its neighbours.*--bands all"):
        make_scene(Cube(data), patch=32)


def test_all_bands_marked_bad_is_refused(make_cube) -> None:
    with one_line("all 6 bands are marked bad"):
        make_scene(make_cube(96, 96, bad_bands=np.ones(6, dtype=bool)), patch=32)


def test_a_cube_smaller_than_one_patch_is_told_which_patch_fits(make_cube) -> None:
    with one_line("smaller than one patch.*--patch 44"):
        make_scene(make_cube(83, 86), patch=64)
    assert make_scene(make_cube(83, 86), patch=44).train


@pytest.mark.parametrize(
    ("side", "scale", "patch"), [(83, 4, 40), (150, 8, 80), (150, 4, 64), (150, 3, 63)]
)
def test_the_usual_patch_gives_way_to_a_small_cube_and_to_the_scale(
    make_cube, side: int, scale: int, patch: int
) -> None:
    scene = make_scene(make_cube(side, side), scale=scale)
    assert {(window.height, window.width) for window in scene.train} == {(patch, patch)}


def test_a_tiny_cube_is_refused(make_cube) -> None:
    with one_line("the smallest is 48 x 48"):
        make_scene(make_cube(20, 20))


def test_a_patch_that_the_scale_does_not_divide_is_refused(make_cube) -> None:
    with one_line(
        "scale 4 does not divide the patch of 50 pixels; choose --patch 48 or --patch 52"
    ):
        make_scene(make_cube(150, 150), patch=50)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "x"}, "unknown protocol"),
        ({"degradation": "x"}, "unknown degradation"),
        ({"normalisation": "x"}, "unknown normalisation"),
        ({"bands": "x"}, "cannot read the bands"),
        ({"bands": "4-6"}, "numbered 0 to 5"),
        ({"patch": 8}, "too small at x4"),
        ({"overlap": 32}, "overlap"),
        ({"overlap": -1}, "overlap"),
        ({"scale": 0}, "scale"),
        ({"tuning_share": 1.0}, "tuning share"),
    ],
)
def test_impossible_options_are_refused(make_cube, options: dict, message: str) -> None:
    with one_line(message, OptionError):
        make_scene(make_cube(), **{"patch": 32, **options})


def test_too_little_memory_is_refused_before_anything_is_read(monkeypatch, make_cube) -> None:
    monkeypatch.setattr("edgesr.cube.memory.free_memory", lambda: 100_000)
    with one_line(r"a patch of 32 x 96 pixels and 6 bands needs about 0\.0 GB .* smaller --patch"):
        make_scene(make_cube(), patch=32)


def test_too_little_memory_for_separate_bands(monkeypatch, make_cube) -> None:
    monkeypatch.setattr("edgesr.cube.memory.free_memory", lambda: 1_050_000)
    cube = make_cube(150, 300, 32, dtype="float64")
    assert make_scene(cube, patch=16, bands="0-2").train
    with one_line("picking 3 separate bands needs"):
        make_scene(cube, patch=16, bands="0-1,3")


def test_an_enormous_patch_of_an_enormous_cube_is_refused() -> None:
    cube = Cube(np.broadcast_to(np.uint8(1), (300_000, 300_000, 200)))
    with one_line("needs about .* GB of memory, but"):
        make_scene(cube, patch=100_000)
