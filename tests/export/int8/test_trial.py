"""What is tried is what will run: the network after the rewrites of its target."""

from __future__ import annotations

import onnx
import pytest
from edgesr_export.int8.calibrate import calibrate
from edgesr_export.int8.layers import find_layers, prepare
from edgesr_export.int8.observe import observe
from edgesr_export.int8.place import outlet
from edgesr_export.int8.trial import Bench
from edgesr_export.targets import find_target

pytestmark = pytest.mark.usefixtures("nncf")


@pytest.fixture(scope="module")
def prepared(network):
    model = prepare(onnx.load(network))
    return model, [layer for layer in find_layers(model) if not layer.fixed]


@pytest.fixture
def loaded(monkeypatch):
    """The models that sessions are opened on."""
    seen = []
    monkeypatch.setattr(
        "edgesr_export.runtime.session", lambda path, *_, **__: seen.append(onnx.load(path))
    )
    return seen


def bench(prepared, tiles, target, folder):
    model, layers = prepared
    on = find_target(target)
    calibration = calibrate(model, layers, tiles[:1], on.scheme)
    ranges = observe(model, {outlet(model, layer.name) for layer in layers}, tiles[:1])
    calibration.ranges.update({**ranges, **calibration.ranges})
    return Bench(model, calibration, on, folder)


def shuffles(model):
    return sum(node.op_type == "DepthToSpace" for node in model.graph.node)


def test_float_layers_before_the_shuffle_are_timed_in_slabs(prepared, tiles, loaded, tmp_path):
    trials = bench(prepared, tiles, "cpu", tmp_path)
    trials.timed(())
    trials.session(())
    assert [shuffles(model) for model in loaded] == [0, 0]


def test_an_int8_layer_before_the_shuffle_pays_for_the_slabs(prepared, tiles, loaded, tmp_path):
    last = prepared[1][-1].name
    trials = bench(prepared, tiles, "cpu", tmp_path)
    trials.timed({last})
    assert [shuffles(model) for model in loaded] == [1]
    assert list(tmp_path.iterdir()) == []


def test_tensorrt_has_no_slabs(prepared, tiles, loaded, tmp_path):
    bench(prepared, tiles, "tensorrt", tmp_path).session(())
    assert [shuffles(model) for model in loaded] == [1]


def test_layers_keep_their_names_in_what_is_written(prepared, tiles, tmp_path):
    layers = prepared[1]
    written = bench(prepared, tiles, "cpu", tmp_path).quantised({layers[0].name})
    names = {node.name for node in written.graph.node}
    assert {layer.name for layer in layers} <= names
