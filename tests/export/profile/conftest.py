"""A small network with a fused activation and a shuffle, written with its modules' paths."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from edgesr_export.profile.source import SCOPES
from onnx import numpy_helper

MODULES = {"conv": "head", "act": "head.act", "tail": "tail", "shuffle": ""}


@pytest.fixture
def network():
    """Conv, Relu, Conv, DepthToSpace: [n, 4, h, w] -> [n, 2, 2 h, 2 w]."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20]>
        small (float[n, 4, h, w] x) => (float[n, 2, hh, ww] y) {
            c = Conv<pads = [1, 1, 1, 1]>(x, w0)
            a = Relu(c)
            t = Conv(a, w1)
            y = DepthToSpace<blocksize = 2>(t)
        }"""
    )
    random = np.random.default_rng(0)
    for name, shape in {"w0": (16, 4, 3, 3), "w1": (8, 16, 1, 1)}.items():
        values = random.random(shape, dtype=np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    for node, (name, path) in zip(model.graph.node, MODULES.items(), strict=True):
        node.name = name
        entry = node.metadata_props.add()
        entry.key, entry.value = SCOPES, repr(["", *([path] if path else []), name])
    return model


@pytest.fixture
def path(network, tmp_path):
    """The file of that network."""
    onnx.save(network, tmp_path / "small.onnx")
    return tmp_path / "small.onnx"


@pytest.fixture
def image():
    return np.random.default_rng(1).random((1, 4, 24, 20), dtype=np.float32)
