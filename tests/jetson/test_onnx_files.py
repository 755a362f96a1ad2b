from __future__ import annotations

from contextlib import suppress

import onnx
import pytest
from edgesr_jetson.errors import BundleError
from edgesr_jetson.onnx_files import read_onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jetson_fakes import onnx_file
from onnx import TensorProto, helper


def external_tensor(location: str) -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value="0")
    return tensor


def model_with(place: str, tensor: onnx.TensorProto) -> onnx.ModelProto:
    """A model that hides a tensor in one of the places where ONNX allows one."""
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [], [])
    model = helper.make_model(graph)
    inner = helper.make_graph([], "inner", [], [], [tensor])
    if place == "initializer":
        model.graph.initializer.append(tensor)
    elif place == "constant":
        model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    elif place == "tensors":
        model.graph.node[0].attribute.append(helper.make_attribute("many", [tensor]))
    elif place == "subgraph":
        model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=inner))
    elif place == "graphs":
        model.graph.node[0].attribute.append(helper.make_attribute("many", [inner]))
    elif place == "function":
        constant = helper.make_node("Constant", [], ["c"], value=tensor)
        model.functions.append(helper.make_function("d", "f", [], ["c"], [constant], []))
    elif place == "training":
        model.training_info.add().algorithm.CopyFrom(inner)
    elif place == "sparse":
        model.graph.sparse_initializer.add().values.CopyFrom(tensor)
    return model


def test_shapes_and_no_external_data(tmp_path):
    found = read_onnx(onnx_file(tmp_path / "a.onnx"))
    assert found.inputs == {"input": (1, 3, None, None)}
    assert found.outputs == {"output": (1, 3, None, None)}
    assert found.external == ()
    fixed = read_onnx(onnx_file(tmp_path / "b.onnx", size=(6, 5)))
    assert fixed.inputs == {"input": (1, 3, 6, 5)}
    assert fixed.outputs == {"output": (1, 3, 12, 10)}


def test_external_data_beside_the_model(tmp_path):
    assert read_onnx(onnx_file(tmp_path / "a.onnx", external="w.bin")).external == ("w.bin",)


@pytest.mark.parametrize(
    "place",
    ["initializer", "constant", "tensors", "subgraph", "graphs", "function", "training", "sparse"],
)
def test_external_data_are_found_wherever_onnx_allows_them(tmp_path, place):
    path = tmp_path / "model.onnx"
    path.write_bytes(model_with(place, external_tensor("../../secret")).SerializeToString())
    with pytest.raises(BundleError, match="outside its folder"):
        read_onnx(path)


@pytest.mark.parametrize("location", ["../w", "/etc/passwd", "a/../../w", "..\\w", ".", ""])
def test_external_data_that_leave_the_folder_are_refused(tmp_path, location):
    path = tmp_path / "model.onnx"
    path.write_bytes(model_with("initializer", external_tensor(location)).SerializeToString())
    with pytest.raises(BundleError, match="outside its folder"):
        read_onnx(path)


def test_a_link_that_leaves_the_folder_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"1234")
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "w").symlink_to(tmp_path / "secret")
    path = folder / "model.onnx"
    path.write_bytes(model_with("initializer", external_tensor("w")).SerializeToString())
    with pytest.raises(BundleError, match="outside its folder"):
        read_onnx(path)


def test_external_data_that_are_missing(tmp_path):
    path = onnx_file(tmp_path / "a.onnx", external="w.bin")
    (tmp_path / "w.bin").unlink()
    with pytest.raises(BundleError, match="not there"):
        read_onnx(path)


def test_no_file_and_no_onnx(tmp_path):
    with pytest.raises(BundleError, match="cannot be read"):
        read_onnx(tmp_path / "none.onnx")
    path = tmp_path / "text.onnx"
    path.write_text("this is no ONNX file")
    with pytest.raises(BundleError, match="not an ONNX file"):
        read_onnx(path)


def test_every_truncation_is_refused(tmp_path):
    path = onnx_file(tmp_path / "a.onnx")
    content = path.read_bytes()
    graph_end = len(content) - len(onnx.load(path).opset_import[0].SerializeToString()) - 2
    for end in range(0, graph_end, 7):
        path.write_bytes(content[:end])
        with pytest.raises(BundleError):
            read_onnx(path)


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_an_answer_or_one_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(content)
    with suppress(BundleError):
        read_onnx(path)
