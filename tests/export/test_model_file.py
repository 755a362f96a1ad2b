from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.model_file import file_hash, load_model, write_bytes, write_model
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.arange(300, dtype=np.float32)


def model():
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "adds",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [300])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [300])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture
def inside(tmp_path):
    path = tmp_path / "inside.onnx"
    write_model(model(), path)
    return path


@pytest.fixture
def beside(tmp_path):
    """A model whose weights stand in weights.bin."""
    path = tmp_path / "beside.onnx"
    onnx.save(model(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def relocate(path, location):
    changed = onnx.load(path, load_external_data=False)
    for entry in changed.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(changed.SerializeToString())


@pytest.mark.parametrize("name", ["inside", "beside"])
def test_weights_are_read_wherever_they_stand(request, name):
    path = request.getfixturevalue(name)
    weights = load_model(path).graph.initializer[0]
    np.testing.assert_array_equal(numpy_helper.to_array(weights), WEIGHTS)


def test_the_hash_covers_the_weights_beside_the_file(inside, beside):
    assert file_hash(inside) == hashlib.sha256(inside.read_bytes()).hexdigest()
    weights = beside.with_name("weights.bin")
    whole = beside.read_bytes() + weights.read_bytes()
    assert file_hash(beside) == hashlib.sha256(whole).hexdigest()
    weights.write_bytes(bytes(weights.stat().st_size))
    assert file_hash(beside) != hashlib.sha256(whole).hexdigest()


def test_weights_that_are_missing_are_named(beside):
    beside.with_name("weights.bin").unlink()
    with pytest.raises(ExportError, match=r"weights w from 'weights\.bin', which does not exist"):
        load_model(beside)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "", "sub/../../w.bin"])
def test_weights_outside_the_folder_are_refused(beside, location):
    relocate(beside, location)
    with pytest.raises(ExportError, match="lies outside its folder"):
        load_model(beside)


def test_a_link_out_of_the_folder_is_refused(beside, tmp_path_factory):
    weights = beside.with_name("weights.bin")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "weights.bin"
    weights.rename(elsewhere)
    weights.symlink_to(elsewhere)
    with pytest.raises(ExportError, match="lies outside its folder"):
        file_hash(beside)


@pytest.mark.parametrize("content", [b"", b"no model at all", "truncated"])
def test_a_file_that_is_no_model_is_one_clear_line(inside, content):
    inside.write_bytes(inside.read_bytes()[:-20] if content == "truncated" else content)
    with pytest.raises(ExportError, match=r"cannot be read as ONNX|holds no network") as caught:
        load_model(inside)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ExportError, match=r"absent\.onnx does not exist"):
        load_model(tmp_path / "absent.onnx")


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(ExportError, match=r"model\.onnx cannot be written: No space left"):
        write_bytes(b"new", target)
    monkeypatch.undo()
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["initializer", "constant", "beside"])
def test_one_weight_that_is_not_finite_is_enough(tmp_path, kind, value, where):
    weights = WEIGHTS.astype(kind)
    weights[7] = value
    bad, path = model(), tmp_path / "bad.onnx"
    if where == "constant":
        del bad.graph.initializer[:]
        held = numpy_helper.from_array(weights, "w")
        bad.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=held))
    else:
        bad.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
    beside = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    onnx.save(bad, path, **(beside if where == "beside" else {}))
    with pytest.raises(ExportError, match=r"bad.onnx holds values that are not finite, in 'w'"):
        load_model(path)


@pytest.mark.parametrize("weights", [np.where(WEIGHTS > 9, 0, -np.inf), np.float32([np.inf])])
def test_a_mask_and_a_bound_may_be_infinite(tmp_path, weights):
    good, path = model(), tmp_path / "good.onnx"
    held = numpy_helper.from_array(weights.astype(np.float32), "w")
    good.graph.initializer[0].CopyFrom(held)
    write_model(good, path)
    assert len(load_model(path).graph.node) == 1
