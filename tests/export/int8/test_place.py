"""Fake quantisation in plain numpy is the truth."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from edgesr_export.int8.calibrate import Calibration, Weight
from edgesr_export.int8.place import outlet, place
from edgesr_export.int8.scheme import Range
from edgesr_export.int8.validate_qdq import validate_qdq
from edgesr_export.targets import find_target
from onnx.reference import ReferenceEvaluator

CPU, TENSORRT = (find_target(name).scheme for name in ("cpu", "tensorrt"))

BODY = """
    a = Conv(x, k1, b1)
    r = Relu(a)
    c = Conv(r, k2)
    y = Add(c, r)
"""


@pytest.fixture
def parts(parse):
    random = np.random.default_rng(0)
    kernels = {n: random.normal(size=(4, 4, 1, 1)).astype(np.float32) for n in ("k1", "k2")}
    model = parse(BODY, {**kernels, "b1": random.normal(size=4).astype(np.float32)})
    weights = {}
    for layer, kernel in zip(("a", "c"), kernels.values(), strict=True):
        scale = np.abs(kernel).max((1, 2, 3)) / 127
        values = np.round(kernel / scale.reshape(-1, 1, 1, 1)).astype(np.int8)
        weights[layer] = Weight(values, scale.astype(np.float32), 0)
    ranges = {"x": Range(-1.0, 1.0), "r": Range(0.0, 4.0), "c": Range(-6.0, 6.0)}
    biases = {"a": np.array([1, -1, 0, 2], np.float32), "c": np.full(4, 0.5, np.float32)}
    return model, Calibration(ranges, weights, biases), kernels


def fake(values, span, scheme):
    scale, zero = scheme.affine(span)
    levels = np.iinfo(zero.dtype)
    steps = np.clip(np.round(values / scale) + zero.astype(int), levels.min, levels.max)
    return ((steps - zero.astype(int)) * scale).astype(np.float32)


def conv(x, weight, bias):
    kernel = weight.values * weight.scale.reshape(-1, 1, 1, 1)
    result = torch.nn.functional.conv2d(torch.tensor(x), torch.tensor(kernel), torch.tensor(bias))
    return result.numpy()


@pytest.mark.parametrize("scheme", [CPU, TENSORRT], ids=["cpu", "tensorrt"])
def test_the_graph_computes_with_rounded_values(parts, scheme):
    model, found, _ = parts
    placed = place(model, found, {"a", "c"}, scheme)
    validate_qdq(placed, {"a", "c"}, scheme)
    x = np.random.default_rng(1).uniform(-1, 1, (2, 4, 5, 3)).astype(np.float32)
    spans = found.ranges
    r = np.maximum(conv(fake(x, spans["x"], scheme), found.weights["a"], found.biases["a"]), 0)
    rounded = fake(r, spans["r"], scheme)
    c = conv(rounded, found.weights["c"], found.biases["c"])
    expected = fake(c, spans["c"], scheme) + rounded if scheme is CPU else c + r
    actual = ReferenceEvaluator(placed).run(None, {"x": x})[0]
    steps = 0.1  # one level of the widest range, where float sums round the other way
    assert np.mean(np.abs(actual - expected)) < 1e-3
    np.testing.assert_allclose(actual, expected, atol=steps)


def test_a_layer_that_is_not_chosen_keeps_its_weights_and_bias(parts):
    model, found, _ = parts
    placed = place(model, found, {"c"}, TENSORRT)
    validate_qdq(placed, {"c"}, TENSORRT)
    names = {tensor.name for tensor in placed.graph.initializer}
    assert {"k1", "b1"} <= names
    assert "k2" not in names
    assert len(model.graph.node) == 4  # the given one is untouched
    empty = place(model, found, (), TENSORRT)
    assert [node.op_type for node in empty.graph.node] == [n.op_type for n in model.graph.node]


def test_onnx_runtime_makes_int8_operators_of_it(parts, tmp_path):
    """Otherwise the pairs would be two useless passes over the data."""
    model, found, _ = parts
    placed = place(model, found, {"a", "c"}, CPU)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        placed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    graph = onnx.load(tmp_path / "optimised.onnx").graph
    operators = Counter(node.op_type for node in graph.node)
    assert operators["QLinearConv"] == 2
    assert operators["Conv"] == operators["Relu"] == 0


def test_the_pair_stands_behind_a_relu_that_nobody_bypasses(parts, parse):
    model, _, kernels = parts
    assert outlet(model, "a") == "r"
    assert outlet(model, "c") == "c"
    bypassed = parse("a = Conv(x, k1)\n r = Relu(a)\n y = Add(a, r)", {"k1": kernels["k1"]})
    assert outlet(bypassed, "a") == "a"
