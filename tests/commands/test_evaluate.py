from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgesr.cli.main import main
from edgesr.commands.evaluate import METRICS, evaluate, render
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
