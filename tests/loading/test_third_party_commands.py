"""third-party networks from the command line, on a small generated cube."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from third_party import BANDS, SCALE, THIRD_PARTY

from edgesr.cli.main import main
from edgesr.cube import read_cube


@pytest.fixture
def data(workplace: Path) -> str:
    return "cube.npy"


def run(*arguments: object) -> int:
    return main([*map(str, arguments)])


@pytest.mark.parametrize("name", ["edsr", "fourier", "scale_argument", "unet", "msdformer"])
def test_analyze_needs_no_word_on_how_it_is_called(name, data, capsys):
    torch.save(THIRD_PARTY[name]().state_dict(), "w.pt")
    options = (
        "--data",
        data,
        "--model",
        f"third_party:{name}",
        "--weights",
        "w.pt",
        "--threads",
        1,
    )
    assert run("analyze", *options, "--output", "figures") == 0
    written = capsys.readouterr()
    assert f"third_party:{name} x{SCALE[name]}: " in written.out
    assert ("the network is called as" in written.err) == (name not in ("edsr", "fourier"))


@pytest.mark.parametrize("name", ["sspsr", "stateful", "swinir_unpadded"])
def test_train_evaluate_and_upscale(name, data, capsys):
    model = ("--model", f"third_party:{name}")
    brief = ("--epochs", 1, "--steps-per-epoch", 1, "--batch", 2, "--patch", 32, "--threads", 1)
    assert run("train", "--data", data, *model, *brief, "--output", "w.safetensors") == 0
    options = ("--weights", "w.safetensors", "--patch", 32, "--threads", 1)
    capsys.readouterr()
    assert run("evaluate", "--data", data, *model, *options) == 0
    assert re.search(rf"6 bands, x{SCALE[name]}, weights w\.safetensors", capsys.readouterr().out)
    assert run("upscale", data, "sr.npy", "--weights", "w.safetensors", *model) == 0
    assert read_cube("sr.npy").shape == (72 * SCALE[name], 72 * SCALE[name], BANDS)


def test_a_scale_that_the_network_has_not(data, capsys):
    options = (
        "--data",
        data,
        "--model",
        "third_party:fsrcnn",
        "--threads",
        1,
        "--output",
        "figures",
    )
    assert run("analyze", *options, "--scale", 4) == 2
    error = capsys.readouterr().err
    assert "turns [1, 6, 16, 16] into [1, 6, 32, 32], not [1, 6, 64, 64]" in error
    assert len(error.splitlines()) == 1


def test_functional_convolutions_are_opened_as_layers(data, capsys):
    options = ("--data", data, "--model", "third_party:functional", "--threads", 1)
    assert run("analyze", *options, "--output", "figures") == 0
    written = capsys.readouterr()
    assert "w2_conv" in written.out
    assert "2 of the network's own convolutions became layers" in written.err
