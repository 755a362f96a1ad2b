"""The published divisions, on cubes of the true shapes that occupy one row of memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.cube.cube import Cube, Window
from edgesr.cube.held_out import grown
from edgesr.cube.protocols import PROTOCOLS, get_protocol, minimum_side
from edgesr.cube.readers import read_cube
from edgesr.cube.sampling import covered
from edgesr.cube.scene import Scene, make_scene
from edgesr.errors import DataError, OptionError

PUBLISHED = [
    name for name in PROTOCOLS if name.startswith(("dacn", "chikusei", "houston", "pavia"))
]


def true_shape(name: str) -> Cube:
    """A cube of the published shape: one random row, repeated without a copy."""
    height, width, bands = PROTOCOLS[name].shape
    row = np.random.default_rng(0).integers(1, 4000, (1, width, bands), dtype=np.uint16)
    return Cube(np.broadcast_to(row, (height, width, bands)), name=name)


@pytest.fixture(scope="module")
def scenes() -> dict[str, Scene]:
    return {name: make_scene(true_shape(name), protocol=name) for name in PUBLISHED}


def shared(scene: Scene, one: str, other: str) -> int:
    """Pixels that two splits have in common."""
    extent = scene.cube.extent
    a, b = (covered(scene.windows(split), extent) for split in (one, other))
    return int((a & b).sum())


def positions(length: int, size: int, stride: int) -> int:
    return (length - size) // stride + 1


def kept(name: str, row: int, size: int, scale: int = 4) -> int:
    """Positions of a grid of patches from ``row`` on that stay clear of budget blocks."""
    regions = PROTOCOLS[name].regions(*PROTOCOLS[name].shape[:2], scale)
    held_out = np.zeros((regions.crop.height, regions.crop.width), dtype=bool)
    for block in regions.budget:
        rows, cols = (slice(max(s.start - regions.guard, 0), s.stop + regions.guard)
                      for s in block.slices)  # fmt: skip
        held_out[rows, cols] = True
    return sum(
        not held_out[y : y + size, x : x + size].any()
        for y in range(row, held_out.shape[0] - size + 1, size // 2)
        for x in range(0, held_out.shape[1] - size + 1, size // 2)
    )


@pytest.mark.parametrize(
    ("name", "shape", "test", "patches", "size"),
    [
        ("chikusei", (2304, 2048, 128), (4, 512, 512), kept("chikusei", 512, 64), 64),
        ("houston2018", (4172, 1202, 48), (8, 256, 256), kept("houston2018", 512, 64), 64),
        ("pavia_centre", (1096, 715, 102), (3, 224, 224), kept("pavia_centre", 224, 64), 64),
        ("dacn_pavia_university", (610, 340, 103), (1, 144, 144), 4 * 2 - 1, 144),
        ("dacn_pavia_centre", (1096, 715, 102), (1, 144, 144), 7 * 4 - 2, 144),
        ("dacn_pavia_centre_leaking", (1096, 715, 102), (1, 144, 144), 7 * 4, 144),
    ],
)  # fmt: skip
def test_published_counts(scenes, name: str, shape, test, patches: int, size: int) -> None:
    scene = scenes[name]
    assert scene.cube.shape == shape
    assert (len(scene.test), scene.test[0].height, scene.test[0].width) == test
    assert len(scene.train) + len(scene.tuning) == patches
    assert len(scene.tuning) == round(0.1 * patches)
    assert {(w.height, w.width) for w in scene.train + scene.tuning} == {(size, size)}
    assert scene.degradation == ("area" if name.startswith("dacn") else "bicubic")


@pytest.mark.parametrize("name", [name for name in PUBLISHED if "leaking" not in name])
def test_no_training_pixel_is_tested(scenes, name: str) -> None:
    assert shared(scenes[name], "train", "test") == 0
    assert shared(scenes[name], "tuning", "test") == 0


@pytest.mark.parametrize("name", PUBLISHED)
def test_budget_blocks_are_cut_from_what_trains_and_from_little_of_it(scenes, name: str) -> None:
    scene = scenes[name]
    assert len(scene.budget) == 6
    for role in ("train", "tuning", "test"):
        assert shared(scene, "budget", role) == 0
    assert all(block.inside(scene.cube.extent) for block in scene.budget)
    height, width = scene.cube.shape[:2]
    if not name.startswith("dacn"):
        row = scene.test[0].height
        all_of_them = positions(height - row, 64, 32) * positions(width, 64, 32)
        assert 0.85 < (len(scene.train) + len(scene.tuning)) / all_of_them < 1


def test_the_leaking_split_leaks_as_much_as_published(scenes) -> None:
    scene = scenes["dacn_pavia_centre_leaking"]
    extent = scene.cube.extent
    trained = covered(scene.train + scene.tuning, extent)
    assert trained[scene.test[0].slices].mean() == pytest.approx(0.389, abs=5e-4)


def test_windows_lie_where_the_papers_say(scenes) -> None:
    assert scenes["chikusei"].crop == Window(106, 143, 2304, 2048)
    assert scenes["chikusei"].test == tuple(Window(0, c, 512, 512) for c in (0, 512, 1024, 1536))
    houston = covered(scenes["houston2018"].test, scenes["houston2018"].cube.extent)
    assert houston[:512, :1024].all()
    assert houston.sum() == 512 * 1024
    trained = covered(scenes["houston2018"].train, scenes["houston2018"].cube.extent)
    assert not trained[:512].any()
    assert scenes["pavia_centre"].test[-1] == Window(0, 448, 224, 224)
    assert scenes["dacn_pavia_university"].test == (Window(0, 0, 144, 144),)
    assert scenes["dacn_pavia_centre"].test == (Window(952, 285, 144, 144),)


def test_pavia_trains_on_the_columns_beside_the_test_when_the_patch_fits() -> None:
    scene = make_scene(true_shape("pavia_centre"), protocol="pavia_centre", patch=32)
    trained = covered(scene.train + scene.tuning, scene.cube.extent)
    assert trained[:224, 672:].any()
    assert shared(scene, "train", "test") == 0


@pytest.mark.parametrize("name", ["pavia_centre", "houston2018"])
def test_x8_takes_patches_of_128(name: str) -> None:
    scene = make_scene(true_shape(name), protocol=name, scale=8)
    height, width = PROTOCOLS[name].shape[:2]
    top = 224 if name == "pavia_centre" else 512
    assert (height, width) == (scene.cube.shape[0], scene.cube.shape[1])
    expected = kept(name, top, 128, 8)
    assert len(scene.train) + len(scene.tuning) == expected
    assert scene.train[0].height == 128
    lr, hr = scene.pair(scene.train[0])
    assert lr.shape[1:] == (16, 16)
    assert hr.shape[1:] == (128, 128)


def test_the_seed_draws_the_tuning_patches() -> None:
    cube = true_shape("dacn_pavia_centre")
    first, again, other = (
        make_scene(cube, protocol="dacn_pavia_centre", seed=seed) for seed in (1, 1, 2)
    )
    assert first.tuning == again.tuning != other.tuning
    assert set(first.train) | set(first.tuning) == set(other.train) | set(other.tuning)
    assert not set(first.train) & set(first.tuning)


def test_a_cube_with_rows_and_columns_exchanged_is_turned() -> None:
    cube = true_shape("houston2018")
    scene = make_scene(cube.transposed(), protocol="houston2018")
    assert scene.cube.shape == cube.shape


def test_another_image_is_refused_with_the_published_shape() -> None:
    with pytest.raises(DataError, match="2517 x 2335 x 128, received 610 x 340 x 103"):
        make_scene(true_shape("dacn_pavia_university"), protocol="chikusei")


def test_another_band_count_is_refused_unless_bands_are_named() -> None:
    cube = true_shape("pavia_centre")
    more = replace(cube, data=np.concatenate([cube.data[:1]] * 2, axis=2))
    more = replace(more, data=np.broadcast_to(more.data, (1096, 715, 204)))
    with pytest.raises(DataError, match=r"102 bands, received 204; .* --bands 0-101"):
        make_scene(more, protocol="pavia_centre")
    assert make_scene(more, protocol="pavia_centre", bands="0-101").cube.bands == 102


def test_a_scale_that_does_not_divide_the_test_region_is_refused() -> None:
    with pytest.raises(DataError, match="scale 3 does not divide the test region of 224 x 224"):
        make_scene(true_shape("pavia_centre"), protocol="pavia_centre", scale=3, patch=63)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match="chikusei, houston2018"):
        get_protocol("pavia")


@settings(deadline=None, max_examples=60)
@given(st.integers(48, 1400), st.integers(48, 1400), st.sampled_from([2, 3, 4]))
def test_auto_divides_every_image_without_sharing_a_pixel(
    height: int, width: int, scale: int
) -> None:
    if min(height, width) < 3 * minimum_side(scale):
        return
    regions = PROTOCOLS["auto"].regions(height, width, scale)
    held_out = (*regions.test, *regions.tuning, *regions.budget)
    assert regions.crop.inside(Window(0, 0, height, width))
    for index, window in enumerate(held_out):
        assert window.inside(Window(0, 0, regions.crop.height, regions.crop.width))
        assert window.height % scale == window.width % scale == 0
        assert min(window.height, window.width) >= 16
        assert not any(window.intersects(other) for other in held_out[:index])
        assert not any(window.intersects(region) for region in regions.train)
    for window in (*regions.tuning, *regions.budget):
        assert not any(grown(window, regions.guard).intersects(one) for one in regions.train)
        assert not any(grown(window, regions.guard).intersects(one) for one in regions.test)
    for window in regions.budget:
        assert not any(grown(window, regions.guard).intersects(one) for one in regions.tuning)
    assert regions.tuning
    assert regions.budget
    trained = covered(regions.train, regions.crop)
    rest = regions.crop.pixels - sum(window.pixels for window in regions.test)
    assert trained.sum() >= 0.44 * rest
    if min(height, width) >= 112:
        assert len(regions.budget) == 6
        assert regions.guard > 0
    assert sum(window.pixels for window in regions.test) > 0.9 * regions.crop.pixels / 3.5


@pytest.mark.parametrize(("scale", "smallest"), [(2, 48), (4, 48), (8, 96)])
def test_auto_says_which_cube_is_the_smallest(scale: int, smallest: int) -> None:
    regions = PROTOCOLS["auto"].regions
    assert regions(smallest, smallest, scale).train
    with pytest.raises(DataError, match=f"the smallest is {smallest} x {smallest}"):
        regions(smallest - 1, smallest, scale)


def test_a_scene_is_made_without_loading_the_cube() -> None:
    cube = true_shape("chikusei")
    tracemalloc.start()
    scene = make_scene(cube, protocol="chikusei")
    scene.pair(scene.train[0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.15 * cube.data.nbytes


def test_a_sparse_file_is_divided_where_it_lies(tmp_path: Path) -> None:
    """Nodata but for two rows of patches: what is read, trained and tested follows from that."""
    shape = PROTOCOLS["dacn_pavia_university"].shape
    path = tmp_path / "pavia.npy"
    sparse = np.lib.format.open_memmap(path, "w+", np.uint16, shape)
    row = np.random.default_rng(0).integers(1, 4000, (1, *shape[1:]), dtype=np.uint16)
    sparse[:288] = row
    sparse.flush()
    cube = replace(read_cube(path), nodata=0.0)
    assert isinstance(cube.data, np.memmap)
    scene = make_scene(cube, protocol="dacn_pavia_university")
    assert sorted(scene.train + scene.tuning) == [
        Window(0, 144, 144, 144),
        Window(144, 0, 144, 144),
        Window(144, 144, 144, 144),
    ]


def test_train_only_takes_the_whole_image_and_holds_nothing_out() -> None:
    cube = true_shape("dacn_pavia_university")
    scene = make_scene(cube, protocol="train_only")
    assert scene.tuning == scene.budget == scene.test == ()
    assert covered(scene.train, scene.cube.extent).all()
    assert scene.train_regions == (scene.cube.extent,)
