from __future__ import annotations

import numpy as np
import onnx
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.int8.layers import find_layers, is_interpolation, prepare
from edgesr_export.rewrite import rewrite
from edgesr_export.rewrite.bicubic import phase_kernels
from edgesr_export.targets import find_target

RANDOM = np.random.default_rng(0)


def test_every_layer_is_found_and_described(network):
    layers = find_layers(prepare(onnx.load(network)))
    assert sorted(layer.kind for layer in layers) == [
        "dense 3x3 conv",
        "dense 3x3 conv",
        "depthwise 3x3 conv, dilated by 2",
        "depthwise 5x5 conv",
        "grouped 1x1 conv",
    ]
    fixed = [layer for layer in layers if layer.fixed]
    assert [layer.kind for layer in fixed] == ["depthwise 5x5 conv"]
    assert "residual branch" in fixed[0].fixed
    assert len({layer.signature for layer in layers}) == len(layers)


def test_layers_without_stored_weights_are_named(parse):
    body = "a = Transpose<perm=[0,1,3,2]>(x)\n y = MatMul(x, a)"
    (layer,) = find_layers(prepare(parse(body)))
    assert (layer.operator, layer.shape) == ("MatMul", ())
    assert layer.fixed == "both factors are computed"


def test_weights_in_constant_nodes_are_weights(parse):
    body = "k = Constant<value = float[4,4,1,1] {1,0,0,0,0,1,0,0,0,0,1,0,0,0,0,1}>()\ny = Conv(x,k)"
    (layer,) = find_layers(prepare(parse(body)))
    assert (layer.shape, layer.fixed) == ((4, 4, 1, 1), "")


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_the_bicubic_branch_is_recognised_in_both_precisions(factor):
    weight = np.tile(phase_kernels(factor, -0.75), (5, 1, 1, 1))
    assert is_interpolation(weight.astype(np.float32))
    assert is_interpolation(weight.astype(np.float16))


def test_the_residual_is_recognised_when_it_is_cut_into_slabs(parse):
    """Columns and rows instead of kernels, a few bands at a time."""
    bands = 72
    random = np.random.default_rng(0)
    weights = {
        "detail": random.normal(size=(bands * 4, 8, 1, 1)).astype(np.float32),
        "phases": np.tile(phase_kernels(2, -0.75), (bands, 1, 1, 1)).astype(np.float32),
        "project": random.normal(size=(8, bands, 1, 1)).astype(np.float32),
        "edge": np.array([0, 0, 2, 2, 0, 0, 2, 2]),
    }
    body = f"""t = Conv(x, project) d = Conv(t, detail) p = Pad<mode="edge">(x, edge)
        b = Conv<group={bands}>(p, phases) s = Add(d, b)
        y = DepthToSpace<blocksize=2, mode="CRD">(s)"""
    image = f"float[batch, {bands}, height, width] x"
    model = onnx.shape_inference.infer_shapes(parse(body, weights, inputs=image))
    cut, done = rewrite(model, find_target("cpu").rules)
    assert any("slabs" in sentence for sentence in done)
    layers = find_layers(prepare(cut))
    fixed = {layer.kind for layer in layers if layer.fixed}
    assert fixed == {"depthwise 5x1 conv", "depthwise 1x5 conv"}
    assert {layer.kind for layer in layers if not layer.fixed} == {"dense 1x1 conv"}


@pytest.mark.parametrize(
    "weight",
    [
        RANDOM.normal(size=(20, 1, 5, 5)),  # learned
        np.tile(RANDOM.normal(size=(4, 1, 5, 5)), (5, 1, 1, 1)),  # shared, but no average
        np.full((20, 1, 2, 2), 0.25) + RANDOM.normal(size=(20, 1, 2, 2)) * 0.1,
        np.full((8, 4, 1, 1), 0.25),  # dense
    ],
)
def test_look_alikes_are_no_interpolation(weight):
    assert not is_interpolation(weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 12}, r"opset 12 and int8 needs 13"),
        ({"inputs": "float16[b, 4, h, w] x"}, r"one float32 input .* got x of float16 with 4 axes"),
        ({"inputs": "float[b, 4, h, w] x, float[b, 4, h, w] z"}, "got x of float with 4 axes, z"),
    ],
)
def test_unfit_files_are_refused(parse, options, message):
    with pytest.raises(ExportError, match=message):
        prepare(parse("y = Relu(x)", **options))


def test_a_quantised_file_is_refused(parse):
    scale = {"s": np.float32(0.1), "z": np.int8(0)}
    with pytest.raises(ExportError, match="quantised already"):
        prepare(parse("q = QuantizeLinear(x, s, z)\n y = DequantizeLinear(q, s, z)", scale))
