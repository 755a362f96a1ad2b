"""What the user knows better than a file, for every command that reads cubes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgesr.cli.main import build_parser, main
from edgesr.cli.parser import reading_options
from edgesr.cube import ReadOptions
from edgesr.errors import OptionError
from edgesr.loading import workload
from edgesr.loading.workload import load_scene, scene_options
from edgesr.recipe.recipes import AnalyzeRecipe, CompressRecipe, TrainRecipe, WeightsRecipe

GIVEN = ["--nodata", "0", "--axes", "bhw", "--wavelength-unit", "um"]
EXPECTED = ReadOptions(0.0, "bhw", "um")
COMMANDS = {
    "compress": [], "analyze": [], "train": ["--output", "a.safetensors"], "evaluate": [],
    "info": ["a.npy"], "upscale": ["a.npy", "b.tif"], "archive": ["in", "out"],
    "reproduce": ["real"],
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_reads_cubes_takes_them(command):
    options = build_parser().parse_args([command, *COMMANDS[command], *GIVEN])
    assert reading_options(options) == EXPECTED


@pytest.mark.parametrize("kind", [WeightsRecipe, AnalyzeRecipe, CompressRecipe, TrainRecipe])
def test_recipes_keep_them(kind, tmp_path):
    recipe = kind(nodata=0, axes="bhw", wavelength_unit="um")
    recipe.save(tmp_path / "recipe.toml")
    assert workload.reading_options(kind.load(tmp_path / "recipe.toml")) == EXPECTED
    for wrong in ({"axes": "bhx"}, {"wavelength_unit": "mm"}, {"nodata": "none"}):
        with pytest.raises(OptionError):
            kind(**wrong)


@pytest.fixture
def bordered(tmp_path):
    """An image [80, 80, 4] within a black border, stored as [4, 100, 100] without any metadata."""
    rows, cols = np.meshgrid(np.arange(80), np.arange(80), indexing="ij")
    image = 1000 + 400 * np.sin(rows / 3) * np.cos(cols / 4)
    noise = np.random.default_rng(0).uniform(0, 40, (80, 80, 4))
    data = np.zeros((100, 100, 4), np.uint16)
    data[10:-10, 10:-10] = image[:, :, None] * np.linspace(0.5, 1, 4) + noise
    np.save(tmp_path / "bordered.npy", data.transpose(2, 0, 1))
    return tmp_path / "bordered.npy", data


def test_a_black_border_is_neither_trained_nor_measured_on(bordered):
    path, data = bordered
    recipe = WeightsRecipe(data=str(path), axes="bhw", nodata=0, patch=16)
    scene = load_scene(scene_options(recipe), {}, 4)
    np.testing.assert_array_equal(scene.cube.data, data)
    for window in (*scene.train, *scene.tuning, *scene.budget, *scene.test):
        assert scene.cube.data[window.slices].all()
    other = load_scene(scene_options(WeightsRecipe(data=str(path), axes="bhw", patch=16)), {}, 4)
    assert not all(other.cube.data[window.slices].all() for window in other.test)


def test_weights_of_a_cube_know_its_nodata(bordered):
    """Otherwise it would be divided otherwise, and test pixels were those of the training."""
    path, _ = bordered
    recipe = WeightsRecipe(data=str(path), axes="bhw", nodata=0, patch=16)
    trained = load_scene(scene_options(recipe), {}, 4)
    again = scene_options(WeightsRecipe(data=str(path), axes="bhw", patch=16))
    scene = load_scene(again, {"name": "bordered", "nodata": 0.0}, 4)
    assert (scene.train, scene.test) == (trained.train, trained.test)
    other = load_scene(again, {"name": "another", "nodata": 0.0}, 4)
    assert other.cube.nodata is None


def test_info_tells_what_it_was_told(bordered, capsys):
    path, data = bordered
    assert main(["info", str(path), "--axes", "bhw", "--nodata", "0", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["shape"] == {"height": 100, "width": 100, "bands": 4}
    assert not facts["axes_assumed"]
    assert facts["nodata_share"] == pytest.approx((data == 0).any(axis=2).mean())
    assert main(["info", str(path), "--axes", "bhx"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
