from __future__ import annotations

import numpy as np
import onnx
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.int8.calibrate import calibrate, checked_tiles
from edgesr_export.int8.layers import find_layers, prepare
from edgesr_export.int8.observe import observe
from edgesr_export.targets import find_target
from onnx import numpy_helper

CPU, TENSORRT = (find_target(name).scheme for name in ("cpu", "tensorrt"))


def tile(**values):
    """A good tile with some numbers replaced."""
    array = np.random.default_rng(0).random((1, 6, 5, 5), dtype=np.float32)
    array[0, 0, 0, 0] = values.get("corner", 0.5)
    return array


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        ([], "no calibration tile"),
        ([tile(), tile(corner=np.nan)], "tile 1 has NaN or infinite .* nodata"),
        ([tile(corner=-np.inf)], "tile 0 has NaN or infinite"),
        ([tile()[:, :5]], r"tile 0 has shape \[1, 5, 5, 5\]; the network takes \[1, 6, "),
        ([tile()[0]], r"tile 0 has shape \[6, 5, 5\]"),
        ([np.concatenate([tile(), tile()])], r"tile 0 has shape \[2, 6, 5, 5\]"),
        ([np.ones((1, 6, 5, 5), np.uint16)], "tile 0 holds uint16; .* normalised"),
    ],
)
def test_unusable_tiles_are_refused(network, tiles, message):
    with pytest.raises(ExportError, match=message):
        checked_tiles(iter(tiles), onnx.load(network))


@pytest.mark.usefixtures("nncf")
@pytest.mark.parametrize("scheme", [CPU, TENSORRT], ids=["cpu", "tensorrt"])
def test_what_nncf_found_is_read_back(network, tiles, scheme):
    model = prepare(onnx.load(network))
    layers = [layer for layer in find_layers(model) if not layer.fixed]
    found = calibrate(model, layers, tiles, scheme)
    nodes = {node.name: node for node in model.graph.node}
    weights = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    assert set(found.weights) == {layer.name for layer in layers}
    for name, weight in found.weights.items():
        exact = weights[nodes[name].input[1]]
        assert weight.axis == 0
        scale = weight.scale.reshape(-1, 1, 1, 1)
        assert np.abs(weight.values * scale - exact).max() <= 0.5001 * scale.max()
    seen = observe(model, found.ranges, tiles)
    for tensor, values in found.ranges.items():
        width = seen[tensor].high - seen[tensor].low
        assert abs(values.high - seen[tensor].high) < 0.5 * width
        assert values.low <= 0 <= values.high


@pytest.mark.usefixtures("nncf")
def test_nodes_that_do_nothing_may_be_there(network, tiles):
    """NNCF takes them out, and then does not know their names."""
    model = prepare(onnx.load(network))
    layers = [layer for layer in find_layers(model) if not layer.fixed]
    first = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    convolution = model.graph.node[first]
    cast = onnx.helper.make_node("Cast", convolution.input[:1], ["same"], "cast", to=1)
    convolution.input[0] = "same"
    model.graph.node.insert(first, cast)
    found = calibrate(model, layers, tiles, CPU)
    assert set(found.weights) == {layer.name for layer in layers}


def test_ranges_are_those_of_the_tensors(parse):
    body = "a = Mul(x, k)\n y = Relu(a)"
    model = parse(body, {"k": np.array(-2, np.float32)})
    images = [np.full((1, 4, 2, 2), value, np.float32) for value in (0.5, 1.0, -3.0)]
    found = observe(model, ["a", "y"], images)
    assert (found["a"].low, found["a"].high) == (-2.0, 6.0)
    assert (found["y"].low, found["y"].high) == (0.0, 6.0)


def test_a_network_that_is_broken_is_refused(parse):
    model = parse("a = Log(x)\n y = Relu(a)")
    with pytest.raises(ExportError, match="tensor a is not finite"):
        observe(model, ["a"], [np.full((1, 4, 2, 2), -1, np.float32)])
