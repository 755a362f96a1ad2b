from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from edgesr.cube import Cube, make_scene, read_cube, write_cube
from edgesr.errors import DataError, ModelError, OptionError
from edgesr.loading.fitting import check_fit
from edgesr.loading.weights import load_custom, save_network
from edgesr.loading.workload import (
    SceneOptions,
    load_weights,
    load_workload,
    open_scene,
    open_workload,
    prepare_torch,
    scene_example,
    scene_options,
    shipped_weights,
    stored_bands,
)
from edgesr.models import create_model
from edgesr.recipe.recipes import WeightsRecipe


@pytest.fixture
def recipe(materials) -> WeightsRecipe:
    return WeightsRecipe(
        data=str(materials.cube), weights=str(materials.lkca_net), patch=16, threads=1
    )


@pytest.fixture
def stored(materials) -> dict:
    """What the bilinear weights say of their data: bands 0-7."""
    with safe_open(materials.bilinear, framework="pt") as file:
        return json.loads(file.metadata()["edgesr"])["data"]


def test_a_job_is_a_network_with_the_scene_it_was_trained_on(recipe, materials):
    workload = open_workload(recipe)
    assert workload.scene.cube.shape == (72, 72, 12)
    assert workload.scene.scale == 4
    assert not workload.model.training
    assert (workload.weights, workload.network) == ("lkca_net.safetensors", "lkca_net")
    assert workload.metadata["data"]["normalisation"] == workload.scene.normalisation.to_dict()
    example = workload.example(8)
    assert example.shape == (1, 12, 8, 8)
    assert float(example.min()) >= 0
    assert float(example.max()) <= 1


def test_a_job_is_opened_by_values_as_by_a_recipe(recipe, materials):
    asked = replace(recipe, bands="all", normalisation="scene", degradation="area", seed=3)
    expected = open_workload(asked)
    wishes = {"bands": "all", "normalisation": "scene", "degradation": "area", "patch": 16}
    options = SceneOptions(str(materials.cube), seed=3, **wishes)
    found = load_workload(options, weights=materials.lkca_net)
    assert found.scene.describe() == expected.scene.describe()
    assert torch.equal(found.example(), expected.example())
    assert (found.weights, found.network) == (expected.weights, expected.network)
    for name, value in expected.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value), name


def test_every_option_of_a_scene_is_taken_from_the_recipe():
    values = {
        "data": "a.npy", "scale": 2, "protocol": "chikusei", "bands": "1-3", "patch": 24, "seed": 5,
        "normalisation": "band", "degradation": "area",
    }  # fmt: skip
    assert scene_options(WeightsRecipe(**values)) == SceneOptions(**values)
    assert scene_options(WeightsRecipe()) == SceneOptions()


def test_the_example_is_the_first_training_patch_and_repeats_it(recipe):
    workload = open_workload(recipe)
    lr, _ = workload.scene.pair(workload.scene.train[0])
    assert lr.shape == (12, 4, 4)
    large = scene_example(workload.scene, 10)
    for row, column in ((0, 0), (4, 4), (4, 0)):
        assert torch.equal(large[0, :, row : row + 4, column : column + 4], lr)
    assert torch.equal(scene_example(workload.scene, 3)[0], lr[:, :3, :3])


def test_the_weights_choose_bands_normalisation_degradation_and_scale(recipe, stored):
    known = {**stored, "degradation": "area", "scale": 2}
    scene = open_scene(recipe, known, None)
    assert scene.cube.bands == 8
    assert scene.degradation == "area"
    assert scene.scale == 2
    assert scene.normalisation.to_dict() == stored["normalisation"]


def test_another_cube_is_seen_through_the_ranges_of_the_weights(recipe, stored, tmp_path):
    brighter = np.load(recipe.data) * 2
    np.save(tmp_path / "brighter.npy", brighter)
    scene = open_scene(replace(recipe, data=str(tmp_path / "brighter.npy")), stored, 4)
    assert scene.normalisation.to_dict() == stored["normalisation"]


def test_a_cube_of_another_gain_is_seen_in_the_numbers_of_the_training(recipe, stored, tmp_path):
    """The same reflectance, stored with half the gain and an offset."""
    cube = read_cube(recipe.data)
    same = Cube(cube.data * 2.0 + 300, "other", gain=0.5e-4, offset=-300 * 0.5e-4)
    write_cube(same, tmp_path / "other.npz")
    known = {**stored, "gain": [1e-4] * 8, "offset": None}
    first = open_scene(recipe, known, 4)
    other = open_scene(replace(recipe, data=str(tmp_path / "other.npz")), known, 4)
    window = first.test[0]
    for ours, theirs in zip(first.pair(window), other.pair(window), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_what_the_recipe_says_overrules_the_weights(recipe, stored):
    scene = open_scene(replace(recipe, bands="2-5", degradation="area"), stored, 4)
    assert scene.bands == (2, 3, 4, 5)
    assert scene.degradation == "area"
    assert scene.normalisation.bands == 4
    scene = open_scene(replace(recipe, normalisation="scene"), stored, 4)
    assert scene.normalisation.mode == "scene"


def test_without_weights_the_scene_has_clean_bands_at_x4(recipe):
    scene = open_scene(replace(recipe, protocol="auto"), {}, None)
    assert scene.scale == 4
    assert scene.normalisation.mode == "band"
    expected = make_scene(Cube(np.load(recipe.data), "made"), patch=16)
    assert scene.bands == expected.bands


def test_the_division_of_the_weights_holds_for_their_cube_alone(recipe, stored, tmp_path):
    """Another division would test on pixels that were trained on."""
    known = {**stored, "protocol": "train_only", "name": "made"}
    assert open_scene(recipe, known, 4).protocol == "train_only"
    assert open_scene(replace(recipe, protocol="auto"), known, 4).protocol == "auto"
    assert open_scene(recipe, {**known, "name": "another"}, 4).protocol == "auto"


@pytest.mark.parametrize("known", ["network", "weights"])
def test_a_scale_that_contradicts_the_network_is_refused(recipe, stored, known):
    wanted = replace(recipe, scale=2)
    with pytest.raises(OptionError, match="--scale 2 contradicts the network's scale 4"):
        open_scene(wanted, stored if known == "weights" else {}, 4 if known == "network" else None)


def cube_of(bands: int, wavelengths=None) -> Cube:
    return Cube(np.ones((4, 4, bands)), "made", wavelengths=wavelengths)


def test_the_bands_of_weights_are_found_in_the_whole_cube_and_in_its_selection(stored):
    assert stored_bands(stored, cube_of(12)) == list(range(8))
    assert stored_bands({**stored, "bands": "4-11"}, cube_of(12)) == list(range(4, 12))
    assert stored_bands({**stored, "bands": "4-11"}, cube_of(8)) == list(range(8))  # selected
    assert stored_bands({}, cube_of(12)) is None
    with pytest.raises(DataError, match="takes bands 4-11, the cube has 10 bands; pass the cube"):
        stored_bands({**stored, "bands": "4-11"}, cube_of(10))


def test_a_cube_in_another_order_gives_the_network_the_same_scene(recipe, stored, tmp_path):
    path = tmp_path / "reversed.npz"
    cube = read_cube(recipe.data)
    cube = replace(cube, wavelengths=500 + 10.0 * np.arange(cube.bands))
    known = {**stored, "wavelengths_nm": [500 + 10.0 * band for band in range(8)]}
    write_cube(cube, tmp_path / "right.npz")
    write_cube(cube.select_bands(range(cube.bands)[::-1]), path)
    right = open_scene(replace(recipe, data=str(tmp_path / "right.npz")), known, 4)
    turned = open_scene(replace(recipe, data=str(path)), known, 4)
    assert (turned.cube.data == right.cube.data).all()
    assert turned.bands == tuple(cube.bands - 1 - band for band in right.bands)


def test_weights_are_shipped_for_the_embedded_cube_alone():
    path = shipped_weights("lkca_net", "indian_pines")
    assert path is not None
    assert path.is_file()
    assert shipped_weights("dacn", "indian_pines") is None
    assert shipped_weights("lkca_net", "reno.npy") is None


def test_without_weights_the_way_to_some_is_told(recipe):
    with pytest.raises(ModelError, match=r"edgesr train --model dacn --data .*made\.npy --output"):
        open_workload(replace(recipe, weights=None, model="dacn"))


def test_a_factory_s_network_needs_no_weights(recipe, workplace):
    workload = open_workload(
        replace(recipe, weights=None, model="small_networks:bilinear", bands="0-7")
    )
    assert workload.weights == "as the factory made it"
    assert workload.network == "small_networks:bilinear"


def test_weights_belong_to_the_network_that_is_named(materials, workplace):
    assert load_weights("lkca_net", materials.lkca_net).metadata["model"] == "lkca_net"
    with pytest.raises(ModelError, match="holds weights of lkca_net, not of vdsr"):
        load_weights("vdsr", materials.lkca_net)
    save_network(create_model("vdsr", bands=3, scale=2), workplace / "vdsr.safetensors")
    assert load_weights("vdsr", workplace / "vdsr.safetensors").model.bands == 3
    assert load_weights("lkca_net", workplace / "vdsr.safetensors").model.bands == 3  # the default
    network = load_custom("small_networks:doubling")
    torch.save(network.state_dict(), workplace / "plain.pt")
    loaded = load_weights("small_networks:doubling", workplace / "plain.pt")
    assert loaded.metadata == {}
    assert torch.equal(loaded.model.upsampler.weight, network.upsampler.weight)


class Broken(nn.Module):
    def __init__(self, answer) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, lr):
        return self.answer(lr)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda lr: lr, r"turns \[1, 3, 4, 4\] into \[1, 3, 4, 4\], not \[1, 3, 8, 8\]"),
        (lambda lr: (lr, lr), "into tuple"),
        (lambda lr: nn.Conv2d(5, 1, 1)(lr), r"does not run on a tile \[1, 3, 4, 4\] .*--bands"),
        (lambda lr: lr.repeat(1, 1, 2, 2) / 0, "not finite"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_in_one_line(answer, reason):
    with pytest.raises(ModelError, match=reason) as refusal:
        check_fit(Broken(answer), torch.zeros(1, 3, 4, 4), 2)
    assert "\n" not in str(refusal.value)


def test_a_network_that_fits_passes():
    check_fit(Broken(lambda lr: lr.repeat(1, 1, 2, 2)), torch.zeros(1, 3, 4, 4), 2)


def test_threads_and_seed_are_set():
    before = torch.get_num_threads()
    try:
        prepare_torch(threads=2, seed=5)
        assert torch.get_num_threads() == 2
        drawn = torch.rand(3)
        assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(5)))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("device", ["abacus", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(OptionError, match=f"--device {device} cannot be used"):
        prepare_torch(device, threads=1)
