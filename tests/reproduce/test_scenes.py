"""Cubes by name, and bands spread over the clean ones."""

from __future__ import annotations

import numpy as np
import pytest
from reproduce_fakes import saved_cube

from edgesr.cube import make_scene, read_cube
from edgesr.errors import OptionError
from edgesr.reproduce.scenes import Scenes, parse_cubes
from edgesr.reproduce.trial import SceneSpec


def test_names_of_cubes() -> None:
    assert parse_cubes(["a.npy"], ["chikusei"]) == {"chikusei": "a.npy"}
    assert parse_cubes(["chikusei=a.mat:x"], ["chikusei"]) == {"chikusei": "a.mat:x"}
    assert parse_cubes(["reno=a.npy", "indian_pines"]) == {
        "reno": "a.npy",
        "indian_pines": "indian_pines",
    }
    assert parse_cubes([], ["chikusei"]) == {}


@pytest.mark.parametrize(
    ("given", "expected", "words"),
    [
        (["a.npy"], ["x", "y"], "--data x=FILE --data y=FILE"),
        (["a.npy"], [], "such as --data reno=FILE"),
        (["x=a", "x=b"], ["x"], "twice"),
        (["z=a"], ["x", "y"], "this table needs x and y"),
    ],
)
def test_cubes_without_a_usable_name(given, expected, words) -> None:
    with pytest.raises(OptionError, match=words):
        parse_cubes(given, expected)


def test_spread_takes_evenly_spaced_clean_bands(tmp_path) -> None:
    path = saved_cube(tmp_path / "made.npy", side=48, bands=20)
    spec = SceneSpec("made", patch=16, bands="spread:5", normalisation="band")
    scene = Scenes({"made": str(path)}).open(spec)
    clean = make_scene(read_cube(path), patch=16, bands="clean").bands
    assert len(scene.bands) == 5
    assert set(scene.bands) <= set(clean)
    assert (scene.bands[0], scene.bands[-1]) == (clean[0], clean[-1])
    steps = np.diff([clean.index(band) for band in scene.bands])
    assert steps.max() - steps.min() <= 1


def test_more_bands_than_are_clean(tmp_path) -> None:
    path = saved_cube(tmp_path / "made.npy", side=48, bands=6)
    with pytest.raises(OptionError, match=r"6 bands that correlate .* take 7"):
        Scenes({"made": str(path)}).open(SceneSpec("made", patch=16, bands="spread:7"))


def test_a_scene_is_opened_once(tmp_path) -> None:
    path = saved_cube(tmp_path / "made.npy")
    scenes, spec = Scenes({"made": str(path)}), SceneSpec("made", patch=16, bands="all")
    assert scenes.open(spec) is scenes.open(SceneSpec("made", patch=16, bands="all"))
