from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from edgesr_export.card import read_card, write_card
from edgesr_export.native import convert_native, io_of_file

from edgesr.cli.main import main
from edgesr.commands.evaluate import METRICS, evaluate, render
from edgesr.loading.card import make_card, trained_on
from edgesr.loading.workload import open_workload
from edgesr.recipe.recipes import WeightsRecipe


@pytest.fixture
def recipe(materials, workplace) -> WeightsRecipe:
    return WeightsRecipe(
        data=str(materials.cube),
        model="small_networks:bilinear",
        weights=str(materials.bilinear),
        patch=16,
        threads=1,
    )


def test_the_network_is_measured_beside_bicubic(recipe):
    """The network is bilinear interpolation, so its figures are those of torch's own."""
    told = evaluate(recipe, "test")
    limits = told["data"]["normalisation"]
    lower, upper = np.array(limits["lower"]), np.array(limits["upper"])
    (row, column, height, width) = told["data"]["test_windows"][0]
    window = np.load(recipe.data)[row : row + height, column : column + width, :8]
    hr = ((window - lower) / (upper - lower)).clip(0, 1).astype(np.float32)
    hr = torch.from_numpy(hr.transpose(2, 0, 1).copy())[None]
    lr = F.interpolate(hr, scale_factor=0.25, mode="bicubic", antialias=True).clamp(0, 1)
    for name, mode in (("network", "bilinear"), ("bicubic", "bicubic")):
        sr = F.interpolate(lr, scale_factor=4, mode=mode).clamp(0, 1)
        error = (sr - hr).double()
        assert told[name]["rmse"] == pytest.approx(float(error.square().mean().sqrt()), rel=1e-4)
        mpsnr = -10 * error.square().mean((2, 3)).log10().mean()
        assert told[name]["mpsnr"] == pytest.approx(float(mpsnr), rel=1e-5)
    assert set(told["network"]) == set(told["bicubic"]) == set(METRICS)
    assert (told["weights"], told["split"]) == ("bilinear.safetensors", "test")


def test_the_splits_are_measured_apart(recipe):
    told = [evaluate(recipe, split) for split in ("test", "tuning", "budget")]
    for kind in ("network", "bicubic"):
        assert len({one[kind]["mpsnr"] for one in told}) == 3


def test_the_table_holds_every_figure_with_its_gain(recipe):
    told = evaluate(recipe, "test")
    lines = render(told).splitlines()
    assert "made, test region, 8 bands, x4, weights bilinear.safetensors" in lines[0]
    assert len(lines) == 2 + len(METRICS)
    for line, (key, (name, _, digits)) in zip(lines[2:], METRICS.items(), strict=True):
        bicubic, network = told["bicubic"][key], told["network"][key]
        assert line.startswith(name)
        assert line.split()[-3:] == [
            f"{bicubic:.{digits}f}", f"{network:.{digits}f}", f"{network - bicubic:+.{digits}f}"
        ]  # fmt: skip


def test_the_command(recipe, capsys):
    options = [
        "evaluate", "--data", recipe.data, "--model", recipe.model, "--weights", recipe.weights,
        "--patch", "16", "--threads", "1", "--split", "budget",
    ]  # fmt: skip
    assert main([*options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == evaluate(recipe, "budget")
    assert main(options) == 0
    assert "budget region" in capsys.readouterr().out


@pytest.fixture
def onnx_file(recipe, plain_exporter) -> Path:
    """The network as ONNX, with its card."""
    workload = open_workload(recipe)
    path = plain_exporter(workload.model, workload.example(8), Path("net.onnx"))
    write_card(path, make_card(trained_on(workload.scene, workload.model), "bilinear"))
    return path


def without_card(path: Path) -> Path:
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, "plain.onnx")
    return Path("plain.onnx")


def of(recipe: WeightsRecipe, path: Path, **changes) -> WeightsRecipe:
    return replace(recipe, weights=str(path), model="lkca_net", **changes)


@pytest.mark.parametrize("target", [None, "cpu", "tensorrt"])
def test_a_model_file_has_the_quality_of_its_network(recipe, onnx_file, target):
    """The float file that of its weights; a native one what whole numbers leave of it."""
    expected, path = evaluate(recipe), onnx_file
    if target is not None:
        path = Path("native.onnx")
        convert_native(onnx_file, path, io_of_file(onnx_file), target=target)
    told = evaluate(of(recipe, path))
    assert (told["weights"], told["runs"]) == (path.name, "onnxruntime, fp32")
    assert told["bicubic"] == expected["bicubic"]
    close = 1e-4 if target is None else 2e-2  # a step of uint16 is some 1e-3 of a band's range
    for name, value in expected["network"].items():
        assert told["network"][name] == pytest.approx(value, rel=close), name


def test_a_file_of_one_size_is_tiled(recipe, onnx_file):
    model = onnx.load(onnx_file)
    for axis, side in zip(
        model.graph.input[0].type.tensor_type.shape.dim, (1, 8, 12, 12), strict=True
    ):
        axis.dim_value = side
    onnx.save(model, "fixed.onnx")
    told, expected = evaluate(of(recipe, Path("fixed.onnx"))), evaluate(recipe)
    assert told["network"]["mpsnr"] == pytest.approx(expected["network"]["mpsnr"], abs=0.02)


def test_a_file_of_another_tool_needs_to_be_told_its_numbers(recipe, onnx_file, refused):
    plain, expected = without_card(onnx_file), evaluate(recipe)
    words = ["evaluate", "--data", recipe.data, "--patch", 16, "--threads", 1, "--weights"]
    line = refused(*words, plain)
    assert "--bands and --normalisation" in line
    assert "--card FILE" in line
    assert "--card FILE" in refused(*words, plain, "--bands", "0-7")
    told = evaluate(of(recipe, plain, bands="0-7", normalisation="band"))
    assert told["network"] == pytest.approx(expected["network"], rel=1e-4)
    Path("card.json").write_text(read_card(onnx_file).to_json())
    for card in (Path("card.json"), onnx_file, Path(recipe.weights)):
        assert evaluate(of(recipe, plain), card=card)["network"] == told["network"]
    assert "takes 8 bands" in refused(*words, plain, "--bands", "0-6", "--normalisation", "band")


def test_options_that_do_not_go_together_are_one_line(recipe, onnx_file, refused):
    convert_native(onnx_file, "native.onnx", io_of_file(onnx_file), target="cpu")
    words = ["evaluate", "--data", recipe.data, "--patch", 16, "--threads", 1, "--weights"]
    assert "leave out --bands" in refused(*words, "native.onnx", "--bands", "0-7")
    assert "--runtime and --card are for an .onnx file" in refused(
        *words, recipe.weights, "--model", recipe.model, "--runtime", "onnxruntime"
    )
    assert "a runtime is one of torch" in refused(*words, onnx_file, "--runtime", "none")
    card = json.loads(read_card(onnx_file).to_json())
    for content, said in (
        ("{", "not valid JSON"),
        ('{"format": 2}', "update edgesr"),
        (json.dumps({**card, "bands": {**card["bands"], "index": [1], "count": 12}}), "damaged"),
    ):
        Path("card.json").write_text(content)
        assert said in refused(*words, onnx_file, "--card", "card.json"), content
