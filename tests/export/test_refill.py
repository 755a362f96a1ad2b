from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from edgesr_export.onnx import export_onnx
from edgesr_export.refill import refill
from edgesr_export.verify import compare
from torch import nn

GRAPH = """<ir_version: 10, opset_import: ["" : 20]>
    one (float[n, 3, h, w] x) => (float[n, 4, h, w] y)
    <float[{rank}, 3, 1, 1] reduce, float[4, {rank}, 1, 1] expand> {{
        inner = Conv(x, reduce)
        y = Conv(inner, expand)
    }}"""


def pair(rank: int, seed: int) -> nn.Sequential:
    """Two 1 x 1 convolutions of the given inner width."""
    torch.manual_seed(seed)
    network = nn.Sequential()
    network.add_module("reduce", nn.Conv2d(3, rank, 1, bias=False))
    network.add_module("expand", nn.Conv2d(rank, 4, 1, bias=False))
    return network


def arrays(network: nn.Module) -> dict[str, np.ndarray]:
    return {name.removesuffix(".weight"): v.numpy() for name, v in network.state_dict().items()}


def write(path: Path, network: nn.Sequential, *, folded: bool = False) -> Path:
    """The graph of ``pair`` with its weights as initializers; ``folded`` renames one of them."""
    weights = arrays(network)
    rank = len(weights["reduce"])
    text = GRAPH.format(rank=rank)
    if folded:
        text = text.replace("reduce", "folded")
        weights["folded"] = weights.pop("reduce")
    header, body = text.split("<float", 1)
    model = onnx.parser.parse_model(header + "{" + body.split("{", 1)[1])
    for name, value in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


@pytest.mark.parametrize("rank", [2, 5])
def test_the_same_graph_with_other_weights_and_another_rank(tmp_path, rank):
    first, second = pair(5, seed=0), pair(rank, seed=1)
    source = write(tmp_path / "first.onnx", first)
    assert len(onnx.load(source).graph.value_info) == 1  # the inner image, of 5 channels
    before = source.read_bytes()
    assert refill(source, arrays(first), arrays(second), tmp_path / "second.onnx")

    image = torch.rand(2, 3, 4, 5)
    assert compare(tmp_path / "second.onnx", second, [image]).max_abs_difference < 1e-6
    model = onnx.load(tmp_path / "second.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert source.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"first.onnx", "second.onnx"}


def test_what_did_not_change_is_kept(tmp_path):
    first, second = pair(5, seed=0), pair(5, seed=0)
    with torch.no_grad():
        second.expand.weight *= 2
    source = write(tmp_path / "first.onnx", first)
    assert refill(source, arrays(first), arrays(second), tmp_path / "second.onnx")
    kept = {entry.name: entry for entry in onnx.load(tmp_path / "second.onnx").graph.initializer}
    original = {entry.name: entry for entry in onnx.load(source).graph.initializer}
    assert kept["reduce"] == original["reduce"]
    assert kept["expand"] != original["expand"]


def test_a_weight_that_was_folded_away_means_a_new_export(tmp_path):
    first, second = pair(5, seed=0), pair(2, seed=1)
    source = write(tmp_path / "first.onnx", first, folded=True)
    assert not refill(source, arrays(first), arrays(second), tmp_path / "second.onnx")
    assert not (tmp_path / "second.onnx").exists()


def test_a_folded_weight_that_stays_the_same_does_no_harm(tmp_path):
    first, second = pair(5, seed=0), pair(5, seed=0)
    with torch.no_grad():
        second.expand.weight *= 2
    source = write(tmp_path / "first.onnx", first, folded=True)
    assert refill(source, arrays(first), arrays(second), tmp_path / "second.onnx")
    image = torch.rand(1, 3, 4, 5)
    assert compare(tmp_path / "second.onnx", second, [image]).max_abs_difference < 1e-6


@pytest.mark.parametrize("extra", ["before", "after"])
def test_networks_of_other_layers_share_no_graph(tmp_path, extra):
    first, second = pair(5, seed=0), pair(2, seed=1)
    source = write(tmp_path / "first.onnx", first)
    weights = {"before": arrays(first), "after": arrays(second)}
    weights[extra]["bias"] = np.zeros(4, np.float32)
    assert not refill(source, weights["before"], weights["after"], tmp_path / "second.onnx")
    assert not (tmp_path / "second.onnx").exists()


def state(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_weight_that_holds_a_folded_normalisation_means_a_new_export(tmp_path, kind):
    """The exporter scales the kernel by the normalisation behind it and keeps the name."""
    first, second = (
        nn.Sequential(kind(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval() for _ in range(2)
    )
    for network in (first, second):
        network[1].weight.data.fill_(3.0)
    source = export_onnx(first, torch.rand(1, 3, 6, 6), tmp_path / "first.onnx", dynamic=False)
    names = {entry.name for entry in onnx.load(source).graph.initializer}
    assert "0.weight" in names
    assert not refill(source, state(first), state(second), tmp_path / "second.onnx")
    assert not (tmp_path / "second.onnx").exists()


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [(1, 4), (2, 1)])
def test_other_groups_of_a_convolution(tmp_path, kind, groups):
    first, second = (
        nn.Sequential(kind(8, 16, 3, groups=g), nn.PixelShuffle(2), nn.Conv2d(4, 4, 1))
        for g in groups
    )
    image = torch.rand(1, 8, 6, 5)
    source = export_onnx(first, image, tmp_path / "first.onnx", dynamic=False)
    states, target = (state(first), state(second)), tmp_path / "second.onnx"
    assert not refill(source, *states, target, {"1.weight": groups[1]})  # is no convolution's
    assert not target.exists()
    assert refill(source, *states, target, {"0.weight": groups[1]})
    assert compare(target, second, [image]).max_abs_difference < 1e-6
    onnx.checker.check_model(onnx.load(target), full_check=True)


def test_an_exported_network_keeps_the_names_of_its_weights(tmp_path):
    """What the exporter writes can be refilled: names survive it."""
    first, second = pair(5, seed=0), pair(2, seed=1)
    image = torch.rand(1, 3, 4, 5)
    source = export_onnx(first, image, tmp_path / "first.onnx", dynamic=False)
    before, after = (
        {name: value.numpy() for name, value in network.state_dict().items()}
        for network in (first, second)
    )
    assert refill(source, before, after, tmp_path / "second.onnx")
    assert compare(tmp_path / "second.onnx", second, [image]).max_abs_difference < 1e-6
