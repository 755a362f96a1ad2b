from __future__ import annotations

import logging
import warnings
from collections import Counter

import onnx
import pytest
import torch
from edgesr_export.errors import ExportError
from edgesr_export.onnx import OPSET, applied_rewrites, export_onnx
from edgesr_export.verify import compare
from torch import nn


@pytest.fixture(scope="module")
def example():
    return torch.rand(1, 5, 8, 6)


@pytest.fixture(scope="module")
def exported(tiny, example, tmp_path_factory):
    """The tiny network, exported once for all tests that only look at the file."""
    return export_onnx(tiny, example, tmp_path_factory.mktemp("exported") / "model.onnx")


def axes(value):
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def operators(path):
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_the_file_computes_the_network_at_any_size(tiny, example, exported):
    graph = onnx.load(exported).graph
    assert axes(graph.input[0]) == ["batch", 5, "height", "width"]
    assert axes(graph.output[0]) == ["batch", 5, "2*height", "2*width"]
    others = [example, torch.rand(3, 5, 11, 4), torch.rand(2, 5, 7, 7), torch.rand(1, 5, 1, 1)]
    assert compare(exported, tiny, others).max_abs_difference < 1e-5


def test_a_fixed_size_stays_fixed(tiny, example, tmp_path):
    path = export_onnx(tiny, example, tmp_path / "model.onnx", dynamic=False)
    assert axes(onnx.load(path).graph.input[0]) == [1, 5, 8, 6]
    assert compare(path, tiny, [example]).max_abs_difference < 1e-5


def test_rewrites_are_named_in_the_file_and_leave_no_resize(tiny, example, exported, tmp_path):
    plain = export_onnx(tiny, example, tmp_path / "plain.onnx", dynamic=False, rewrite=False)
    assert applied_rewrites(plain) == []
    assert len(applied_rewrites(exported)) == 2
    assert operators(plain)["Resize"] == 1
    assert operators(exported)["Resize"] == 0
    assert operators(exported)["DepthToSpace"] == 1


def test_pooling_and_weight_norm_leave_no_index_or_weight_arithmetic(exported):
    assert not {"Gather", "Range", "Shape", "Div", "ReduceL2"} & set(operators(exported))


def test_the_file_is_self_contained_and_reproducible(tiny, example, exported, tmp_path):
    again = export_onnx(tiny, example, tmp_path / "again.onnx")
    assert again.read_bytes() == exported.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.onnx"]
    model = onnx.load(again, load_external_data=False)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert {entry.version for entry in model.opset_import if not entry.domain} == {OPSET}
    assert b"site-packages" not in again.read_bytes()


def test_the_module_keeps_its_modes_and_weights_and_nothing_is_printed(tmp_path, example, capfd):
    module = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(5), nn.Dropout(0.5)).train()
    module[2].eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_onnx(module, example, tmp_path / "model.onnx", dynamic=False)
    assert [part.training for part in module] == [True, True, False]
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.NOTSET


def test_a_network_of_one_size_is_refused_unless_the_size_is_fixed(example, tmp_path):
    class OneSize(nn.Module):
        def forward(self, x):
            return x.reshape(1, 5, 48).softmax(-1)

    with pytest.raises(ExportError, match="OneSize cannot be exported") as caught:
        export_onnx(OneSize(), example, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    export_onnx(OneSize(), example, tmp_path / "model.onnx", dynamic=False)


def test_an_existing_file_survives_a_failure(example, tmp_path):
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("first line\nsecond line")

    target = tmp_path / "model.onnx"
    target.write_bytes(b"kept")
    with pytest.raises(ExportError, match="first line") as caught:
        export_onnx(Broken(), example, target)
    assert "second line" not in str(caught.value)
    assert target.read_bytes() == b"kept"


def test_a_missing_folder_is_named(example, tmp_path):
    with pytest.raises(ExportError, match="cannot be written"):
        export_onnx(nn.ReLU(), example, tmp_path / "absent" / "model.onnx", dynamic=False)


@pytest.mark.parametrize("shape", [(5, 8, 6), (1, 5, 1, 6)])
def test_an_unusable_example_is_refused(tiny, shape, tmp_path):
    with pytest.raises(ExportError, match="example"):
        export_onnx(tiny, torch.rand(shape), tmp_path / "model.onnx")
