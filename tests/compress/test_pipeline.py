"""The whole job on a small network: each figure of the report is recomputed from the files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from edgesr.compress import compress
from edgesr.compress.candidates import enumerate_candidates
from edgesr.compress.surgery_config import surgery_options
from edgesr.cube import Cube, make_scene, read_cube
from edgesr.deploy.stage import verification_inputs
from edgesr.errors import ModelError, OptionError
from edgesr.evaluation.evaluate import evaluate
from edgesr.loading.weights import load_custom, load_network, save_network
from edgesr.loading.workload import Workload, open_workload
from edgesr.models import create_model
from edgesr.recipe.recipes import CompressRecipe
from edgesr.report import validate
from edgesr.surgery import find_sites, spectrum

FACTORY = "small_networks:bilinear"


@pytest.fixture
def run(workplace, plain_export, small_recipe) -> Callable[..., dict[str, Any]]:
    """Compress with some options changed, into the folder ``out`` or another."""

    def start(output: str = "out", **options: Any) -> dict[str, Any]:
        overwrite, resume = options.pop("overwrite", False), options.pop("resume", False)
        wanted = replace(small_recipe, **options)
        return compress(wanted, Path(output), overwrite=overwrite, resume=resume)

    return start


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def header(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["edgesr"])


def recomputed_mpsnr(folder: Path, cube: Path, report: dict[str, Any]) -> float:
    """MPSNR of ``model.onnx`` on the test windows, without any of the library's code."""
    stored = header(folder / "student.safetensors")["data"]["normalisation"]
    lower, upper = np.array(stored["lower"]), np.array(stored["upper"])
    bands = slice(0, len(lower))
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    figures = []
    for row, column, height, width in report["data"]["test_windows"]:
        window = np.load(cube)[row : row + height, column : column + width, bands]
        hr = ((window - lower) / (upper - lower)).clip(0, 1).astype(np.float32)
        hr = torch.from_numpy(hr.transpose(2, 0, 1).copy())[None]
        lr = F.interpolate(hr, scale_factor=0.25, mode="bicubic", antialias=True).clamp(0, 1)
        sr = session.run(None, {"input": lr.numpy()})[0].clip(0, 1)
        error = ((sr.astype(np.float64) - hr.double().numpy()) ** 2).mean(axis=(0, 2, 3))
        figures.append(np.mean(10 * np.log10(1 / error)))
    return float(np.mean(figures))


def test_the_report_agrees_with_the_files(run, materials, workplace, small_recipe):
    before = digest(materials.bilinear)
    report = run()
    assert "search" not in report  # without a limit on cost the upsampler is all that shrinks
    out = workplace / "out"
    assert {path.name for path in out.iterdir()} == {
        "student.safetensors", "student.py", "model.onnx", "recipe.toml", "report.json",
        "decisions.json",
        "models", "pictures.npz", "report.html",
    }  # fmt: skip
    assert json.loads((out / "report.json").read_text()) == report
    validate(report)
    for entry in report["files"]:
        assert entry["bytes"] == (out / entry["path"]).stat().st_size
        assert entry["sha256"] == digest(out / entry["path"])
    assert digest(materials.bilinear) == before

    for entry, path in (("teacher", materials.bilinear), ("student", out / "student.safetensors")):
        tensors = load_file(path)
        sizes = {name: value.numel() for name, value in tensors.items()}
        upsampler = sum(size for name, size in sizes.items() if name.startswith("upsampler"))
        assert report[entry]["params"] == sum(sizes.values())
        assert report[entry]["upsampler_params"] == upsampler
    assert report["student"]["upsampler_params"] < report["teacher"]["upsampler_params"]

    student = load_network(out / "student.safetensors", FACTORY).model
    workload = open_workload(small_recipe)
    assert evaluate(student, workload.scene) == report["student"]["metrics"]
    assert evaluate(workload.model, workload.scene) == report["teacher"]["metrics"]
    mpsnr = recomputed_mpsnr(out, materials.cube, report)
    assert report["student"]["metrics"]["mpsnr"] == pytest.approx(mpsnr, abs=1e-3)

    windows = report["data"]["test_windows"]
    assert windows == [[0, 0, 24, 72]]
    assert report["data"]["bands"] == "0-7"
    assert report["recipe"] == {k: v for k, v in small_recipe.to_dict().items() if v is not None}
    assert report["onnx"]["max_abs_difference"] < 1e-5
    assert [1, 8, 6, 18] in report["onnx"]["inputs"]
    assert len({tuple(shape) for shape in report["onnx"]["inputs"]}) >= 3


def test_macs_are_those_of_the_convolutions(run):
    """A dense 3 x 3 convolution at 16 x 16: in * out * 9 * 256; the 1 x 1 mixes 8 bands."""
    report = run(groups=4, epochs=0)
    assert report["teacher"]["macs_input_shape"] == [1, 8, 16, 16]
    assert report["teacher"]["macs"] == 256 * (8 * 8 + 8 * 128 * 9)
    assert report["student"]["macs"] == 256 * (8 * 8 + 8 * 128 * 9 // 4)
    assert report["student"]["upsampler_params"] == 8 * 128 * 9 // 4 + 128


def test_the_table_holds_both_families_and_the_budget_decides(run):
    report = run()
    table = [(c["pass"], c.get("rank", c.get("groups"))) for c in report["candidates"]]
    assert table == [*(("lowrank", r) for r in (40, 32, 24, 16, 8)),
                     *(("grouped", g) for g in (2, 4, 8))]  # fmt: skip
    chosen = [c for c in report["candidates"] if c["chosen"]]
    assert len(chosen) == 1
    assert chosen[0]["validation"]["mpsnr_interval"][1] <= 0.05
    within = [c for c in report["candidates"] if c["validation"]["mpsnr_interval"][1] <= 0.05]
    alike = [c for c in within if c["pass"] == chosen[0]["pass"]]
    assert chosen[0]["upsampler_params"] == min(c["upsampler_params"] for c in alike)
    *_, last = report["chosen"]["compared"]
    assert last["first"] == "the reference"
    assert last["interval"][0] <= last["ratio"] <= last["interval"][1]
    for candidate in report["candidates"]:
        assert candidate["latency_ms"] > 0
        assert candidate["upsampler_params"] < report["teacher"]["upsampler_params"]
        assert candidate["reason"]
    assert report["paper_baseline"]["groups"] == 8
    assert report["paper_baseline"]["upsampler_params"] == 8 * 128 * 9 // 8 + 128
    assert report["paper_baseline"]["distillation"]["epochs"] == 2
    assert set(report["timing_s"]) >= {"open", "calibrate", "candidates", "distil", "export"}


def test_the_drop_is_measured_on_budget_blocks_never_on_test(run, workplace, small_recipe):
    report = run(rank=8, epochs=0, confidence=0)
    assert "folds" not in report["candidates"][0]["validation"]
    workload = open_workload(small_recipe)
    student = load_network(workplace / "out" / "student.safetensors", FACTORY).model
    for split, agrees in (("budget", True), ("tuning", False), ("test", False)):
        before, after = (
            evaluate(model, workload.scene, split) for model in (workload.model, student)
        )
        drop = before["mpsnr"] - after["mpsnr"]
        found = report["candidates"][0]["validation"]["mpsnr_drop"]
        assert (found == pytest.approx(drop, abs=1e-9)) == agrees


def test_what_was_distilled_is_held_against_the_budget_once_more(run, workplace, small_recipe):
    """Training gains dB and turns spectra further than is allowed: part of it is kept."""
    report = run(confidence=0, learning_rate=1e-3, epochs=4, max_psnr_drop=0.05, max_sam_drop=0.04)
    workload = open_workload(small_recipe)
    student = load_network(workplace / "out" / "student.safetensors", FACTORY).model
    before, after = (
        evaluate(model, workload.scene, "budget") for model in (workload.model, student)
    )
    distillation = report["distillation"]
    found = distillation["validation"]
    assert found["mpsnr_drop"] == pytest.approx(before["mpsnr"] - after["mpsnr"], abs=1e-9)
    assert found["mpsnr_drop"] <= 0.05
    assert found["sam_drop"] == pytest.approx(after["sam"] - before["sam"], abs=1e-9)
    assert found["sam_drop"] <= 0.04
    assert 0 < distillation["share"] < 1
    decisions = json.loads((workplace / "out" / "decisions.json").read_text())
    assert decisions["best"]["share"] == distillation["share"]


def test_its_recipe_gives_the_same_result_again(run, workplace):
    first = run(rank=8)
    again = compress(CompressRecipe.load(workplace / "out/recipe.toml"), Path("again"))
    assert again["student"]["metrics"] == first["student"]["metrics"]
    for name in ("student.safetensors", "model.onnx", "recipe.toml"):
        assert digest(workplace / "again" / name) == digest(workplace / "out" / name)
    other = run("other", rank=8, seed=5)
    assert other["student"]["metrics"] != first["student"]["metrics"]


@pytest.mark.parametrize(
    ("options", "name", "settings"),
    [
        ({"groups": 4}, "grouped", {4}),
        ({"rank": 13}, "lowrank", {16}),
        ({"method": "grouped"}, "grouped", {2, 4, 8}),
        ({"method": "lowrank"}, "lowrank", {40, 32, 24, 16, 8}),
        ({"method": "lowrank", "rank_criterion": "energy"}, "lowrank", {16, 8}),
        ({"rank_target": 0.5, "exact_target": True}, None, {8}),
        ({"rank_target": 0.99, "method": "lowrank"}, "lowrank", {32, 24, 16, 8}),
    ],
)
def test_what_a_recipe_measures(workplace, small_recipe, options, name, settings):
    """The upsampler is [128, 72], and 45 is the largest rank at which two factors are smaller.

    Its singular values are 2.417 (8 times), 0.615 (16), 0.354 (16), 0.156 (8), 0.090 (16) and
    0.052 (8): 90 % of the sum at rank 39, 50 % at 8, 99 % at 66, and 90 % of the energy at 16.
    """
    recipe = replace(small_recipe, **options)
    workload = open_workload(recipe)
    sites = find_sites(workload.model, workload.example())
    candidates = enumerate_candidates(
        surgery_options(recipe), sites, {sites[0].name: spectrum(workload.model, sites[0])}
    )
    assert {c.setting for c in candidates} == settings
    if name is not None:
        assert {c.method for c in candidates} == {name}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"groups": 16}, "--groups 16 does not make the upsampler smaller; choose 2, 4, 8$"),
        ({"rank": 64}, "--rank 64 does not make the upsampler smaller; choose 32 or less"),
        ({"groups": 2, "rank": 8}, "contradict"),
        ({"rank_target": 1.0, "exact_target": True, "method": "lowrank"}, "leave out --exact"),
    ],
)
def test_what_no_surgery_can_do(workplace, small_recipe, options, reason):
    recipe = replace(small_recipe, **options)
    workload = open_workload(recipe)
    sites = find_sites(workload.model, workload.example())
    spectra = {sites[0].name: spectrum(workload.model, sites[0])}
    with pytest.raises(OptionError, match=reason):
        enumerate_candidates(surgery_options(recipe), sites, spectra)


@pytest.mark.parametrize("method", ["magic", "tucker", "remove"])
def test_a_method_that_is_no_pass_on_upsamplers_is_refused(method):
    reason = f"^--method must be one of auto, grouped, lowrank, none, not '{method}'$"
    with pytest.raises(OptionError, match=reason):
        surgery_options(CompressRecipe(method=method))


def test_the_reason_says_what_the_choice_loses_or_gains(run):
    report = run(epochs=0, baseline_groups=0)
    drop = next(c for c in report["candidates"] if c["chosen"])["validation"]["mpsnr_drop"]
    effect = f"{'loses' if drop > 0 else 'gains'} {abs(drop):.3f} dB on budget blocks"
    assert effect in report["chosen"]["why"]


def test_a_large_test_window_is_verified_by_its_corner(materials):
    """Attention over all of it would not fit into the memory of the runtime."""
    large = Cube(np.tile(np.load(materials.cube), (4, 4, 1)), "large")
    workload = Workload(make_scene(large, patch=16), nn.Identity(), {}, "", "")
    assert workload.scene.test[0].height == 96
    assert workload.scene.test[0].width == 288
    real, *others = verification_inputs(workload)
    whole, _ = workload.scene.pair(workload.scene.test[0])
    assert torch.equal(real[0], whole[:, :32, :32])
    assert max(max(tensor.shape[2:]) for tensor in others) <= 17


def test_no_epochs_keep_the_closed_form(run):
    report = run(rank=8, epochs=0)
    assert report["distillation"] == {
        "epochs": 0, "best_epoch": 0, "kept": "closed form", "history": [],
        "validation": report["candidates"][0]["validation"],
    }  # fmt: skip


def test_distillation_never_makes_tuning_worse(run, workplace):
    start = run("start", rank=8, epochs=0)
    ruined = run("ruined", rank=8, epochs=2, learning_rate=1.0)
    assert ruined["distillation"]["kept"] == "closed form"
    assert ruined["distillation"]["epochs"] == 2
    assert ruined["student"]["metrics"] == start["student"]["metrics"]


def test_the_closed_form_on_data_is_better_than_in_weight_space(run):
    data = run("data", rank=8, epochs=0)["candidates"][0]["validation"]["mpsnr_drop"]
    report = run("weights", rank=8, epochs=0, init="weights")
    weights = report["candidates"][0]["validation"]["mpsnr_drop"]
    assert data < weights - 1


def test_weight_space_is_the_truncated_singular_value_decomposition(run, workplace, materials):
    run(rank=8, epochs=0, init="weights")
    student = load_file(workplace / "out/student.safetensors")
    reduce, expand = student["upsampler.reduce.weight"], student["upsampler.expand.weight"]
    product = expand.flatten(1).double() @ reduce.flatten(1).double()
    dense = load_file(materials.bilinear)["upsampler.weight"].flatten(1).double()
    values = torch.linalg.svdvals(dense)
    lost = float((dense - product).square().sum())
    assert lost == pytest.approx(float(values[8:].square().sum()), rel=1e-5)


def test_a_deeper_teacher_guides(run, workplace, materials):
    """Guided by a network of opposite detail, the student becomes another one."""
    teacher = load_network(materials.bilinear, FACTORY).model
    with torch.no_grad():
        teacher.upsampler.weight *= -1
    save_network(teacher, workplace / "guide.safetensors", data=header(materials.bilinear)["data"])
    options = {"rank": 16, "distil": "paper", "alpha": 10.0, "learning_rate": 1e-3, "epochs": 3}
    own = run("own", **options)
    guided = run("guided", teacher="guide.safetensors", **options)
    assert own["student"]["metrics"] != guided["student"]["metrics"]
    assert own["distillation"]["history"] != guided["distillation"]["history"]
    assert own["teacher"]["metrics"] == guided["teacher"]["metrics"]


def test_a_teacher_for_other_bands_is_refused(run, workplace, materials):
    with pytest.raises(ModelError, match=r"--teacher .* does not fit"):
        run(teacher=str(materials.lkca_net))
    assert not (workplace / "out").exists()


def test_a_third_party_network_needs_no_header(run, small_recipe, workplace):
    """A plain state dict, and a network that does not say that it doubles the image."""
    network = load_custom("small_networks:doubling")
    torch.save({"state_dict": network.state_dict()}, workplace / "plain.pt")
    options = {"model": "small_networks:doubling", "weights": "plain.pt", "bands": "0-7"}
    with pytest.raises(ModelError, match="scale"):
        run(**options, scale=4)
    assert not (workplace / "out").exists()
    report = run(**options, rank=16)  # running it shows how far it magnifies
    assert report["data"]["scale"] == 2
    assert report["teacher"]["model"] == "small_networks:doubling"
    student = load_network(workplace / "out/student.safetensors", "small_networks:doubling").model
    assert student.upsampler.reduce.out_channels == 16
    again = run("again", model="small_networks:doubling", weights="out/student.safetensors",
                rank=8, epochs=0)  # fmt: skip
    assert again["data"]["scale"] == 2  # known from the first run
    student = load_network(workplace / "again/student.safetensors", "small_networks:doubling").model
    assert student.upsampler.reduce.out_channels == 8


@pytest.fixture
def wide(materials, workplace) -> Path:
    """A cube of 40 bands."""
    path = workplace / "wide.npy"
    np.save(path, np.concatenate([np.load(materials.cube)] * 4, axis=2)[:, :, :40])
    return path


def weights_for(cube: Path, name: str) -> str:
    torch.manual_seed(0)
    scene = make_scene(read_cube(cube), scale=4, patch=16, bands="all")
    network = create_model(name, bands=40, scale=4)
    save_network(network, Path(f"{name}.safetensors"), data=scene.describe())
    return f"{name}.safetensors"


def test_a_family_that_has_nothing_to_offer(wide, small_recipe):
    """The last convolution of 3DFCNN has 9 input channels: no group count divides 9 and 16."""
    weights = weights_for(wide, "3dfcnn")
    options = {"data": str(wide), "weights": weights, "model": "3dfcnn", "rank_target": 0.2}
    with pytest.raises(OptionError, match=r"no grouped surgery .* pass --method auto"):
        compress(replace(small_recipe, method="grouped", **options), Path("out"))
    assert not Path("out").exists()


@pytest.mark.slow
def test_two_stages_of_parallel_layers_share_their_factors(wide, small_recipe):
    """DACN on 40 bands, with the real exporter: two sites, each of two parallel layers."""
    recipe = replace(small_recipe, data=str(wide), weights=weights_for(wide, "dacn"), model="dacn",
                     rank=16, epochs=1, steps_per_epoch=1, batch=1)  # fmt: skip
    report = compress(recipe, Path("out"))
    assert [len(site["layers"]) for site in report["sites"]] == [2, 2]
    assert list(report["chosen"]["settings"].values()) == [16, 16]
    assert report["onnx"]["max_abs_difference"] < 1e-4
    assert report["student"]["upsampler_params"] * 10 < report["teacher"]["upsampler_params"]
    tensors = load_file("out/student.safetensors")
    sizes = [value.numel() for name, value in tensors.items() if "num_batches" not in name]
    assert report["student"]["params"] == sum(sizes)  # with the means of batch normalisation


def test_the_network_of_the_file_stands_in_the_report(workplace, small_recipe, materials):
    """``--model`` has a default; what the weights file says of itself counts."""
    workload = open_workload(
        replace(small_recipe, weights=str(materials.lkca_net), model="lkca_net")
    )
    assert workload.network == "lkca_net"
    assert open_workload(small_recipe).network == FACTORY
