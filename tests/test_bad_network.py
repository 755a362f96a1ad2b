"""Networks and weights that cannot be used: exit code 2, one line on stderr, nothing written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file


def halved(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_weights_that_are_not_there_or_damaged(refused_compress, materials, tmp_path):
    assert "does not exist; check the path" in refused_compress("--weights", "nowhere.safetensors")
    copy = tmp_path / "half.safetensors"
    shutil.copy(materials.lkca_net, copy)
    assert "truncated" in refused_compress("--weights", halved(copy))
    assert "does not exist" in refused_compress("--teacher", "nowhere.safetensors")


def test_weights_of_another_network(refused_compress, refused_train, materials, tmp_path):
    assert "holds weights of lkca_net, not of dacn" in refused_compress("--model", "dacn")
    own = ("--model", "small_networks:bilinear")
    assert "holds weights of lkca_net, not of small_networks:bilinear" in refused_compress(*own)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, foreign)
    assert "does not say which network" in refused_compress("--weights", foreign)
    assert "does not fit the network Bilinear" in refused_compress("--weights", foreign, *own)
    assert "confirm with --model small_networks:bilinear" in refused_compress(
        "--weights", materials.bilinear
    )
    line = refused_train("--initial", materials.lkca_net, "--model", "dacn")
    assert "holds weights of lkca_net, not of dacn" in line


def test_weights_that_are_not_finite(refused_compress, materials, tmp_path):
    tensors = load_file(materials.bilinear)
    tensors["head.weight"][0] = float("nan")
    torch.save(tensors, tmp_path / "broken.pt")
    line = refused_compress(
        "--weights", tmp_path / "broken.pt", "--model", "small_networks:bilinear", "--bands", "0-7"
    )
    assert "values that are not finite" in line


def test_weights_that_are_a_program(refused_compress, tmp_path):
    torch.save({"network": print}, tmp_path / "program.pt")
    line = refused_compress(
        "--weights", tmp_path / "program.pt", "--model", "small_networks:bilinear"
    )
    assert "no state dict" in line  # what would run stays out


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("bicubic_net", "no weights are shipped for bicubic_net"),
        ("small_networks:missing", "has no function 'missing'"),
        ("no_such_module:net", "cannot import no_such_module"),
        ("small_networks:", "package.module:function"),
    ],
)
def test_a_network_that_does_not_exist(refused, materials, model, reason):
    line = refused(
        "compress", "--data", materials.cube, "--patch", 16, "--model", model, "--threads", 1
    )
    assert reason in line


def test_a_network_without_an_upsampler(refused, materials):
    options = (
        "--data",
        materials.cube,
        "--patch",
        16,
        "--bands",
        "0-7",
        "--threads",
        1,
        "--model",
        "small_networks:nothing_learnable",
    )
    assert "has no learnable upsampler" in refused("compress", *options, "--output", "run")
    assert "has no learnable upsampler" in refused("analyze", *options, "--output", "figures")
