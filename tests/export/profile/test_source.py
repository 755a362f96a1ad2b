"""Which nodes and modules a runtime's layers come from."""

from __future__ import annotations

import onnx
import pytest
import torch
from edgesr_export.errors import ExportError
from edgesr_export.onnx import export_onnx
from edgesr_export.opset import lower
from edgesr_export.profile.source import SCOPES, Source, read_source
from onnx import helper
from torch import nn


@pytest.fixture
def source(network):
    return Source(network)


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("conv", "conv"),
        ("t", "tail"),
        ("t_nchwc", "tail"),
        ("conv_quant", "conv"),
        ("conv/WithoutBiases", "conv"),
        ("y/sink_port_0", "shuffle"),
    ],
)
def test_a_node_is_found_by_what_runtimes_call_it(source, name, node):
    assert source.find(name).name == node


@pytest.mark.parametrize("name", ["", "ReorderOutput", "w0", "/conv"])
def test_what_is_the_runtimes_own_is_no_node(source, name):
    assert source.find(name) is None


def test_origin_names_each_node_and_module_once_and_not_the_network_itself(source):
    found = source.origin(["conv", "c", "reorder", "act", "shuffle"])
    assert found == (("conv", "act", "shuffle"), ("head", "head.act"))


def test_fused_nodes_go_to_the_layer_that_took_them(source):
    executed = [("ReorderInput", ["r0"]), ("c_nchwc", ["r1"]), ("y", ["y"])]
    assert source.absorbed(executed) == {"c_nchwc": ("conv", "act"), "y": ("tail", "shuffle")}


def test_a_layer_named_after_the_activation_computes_the_convolution_too(source):
    assert source.absorbed([("a_nchwc", ["r1"]), ("tail", ["t"]), ("shuffle", ["y"])]) == {
        "a_nchwc": ("conv", "act"), "tail": ("tail",), "shuffle": ("shuffle",),
    }  # fmt: skip


def test_an_addition_goes_to_the_later_of_its_inputs():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="first"),
        helper.make_node("Conv", ["a", "w"], ["b"], name="second"),
        helper.make_node("Add", ["a", "b"], ["c"], name="add"),
    ]
    source = Source(helper.make_model(helper.make_graph(nodes, "g", [], [])))
    found = source.absorbed([("first", ["a"]), ("second", ["b"])])
    assert found == {"first": ("first",), "second": ("second", "add")}


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("/body/body.0/norm/Conv", "body.0.norm"),
        ("/body/body.1/attention/attention.0/Conv", "body.1.attention.0"),
        ("/Conv", ""),
        ("Conv_7", ""),
    ],
)
def test_recorded_files_carry_modules_in_the_names_of_nodes(name, module):
    node = helper.make_node("Conv", ["x", "w"], ["y"], name=name)
    (found,) = Source(helper.make_model(helper.make_graph([node], "g", [], []))).nodes
    assert found.module == module


def test_a_change_of_layout_takes_no_fused_activation(source):
    executed = [("c_nchwc", ["r0"]), ("ReorderOutput", ["a"]), ("t", ["t"]), ("y", ["y"])]
    assert source.absorbed(executed)["c_nchwc"] == ("conv", "act")


@pytest.mark.parametrize("scopes", ["[", "['x']", "3", "__import__('os')", "[" * 100_000])
def test_broken_metadata_names_no_module(network, scopes):
    network.graph.node[0].metadata_props[0].value = scopes
    assert Source(network).nodes[0].module == ""


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 8, 1))
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x):
        return self.shuffle(self.body(x))


def test_exported_nodes_name_their_modules_and_no_file_of_this_machine(tmp_path):
    path = export_onnx(Net(), torch.rand(1, 3, 8, 8), tmp_path / "net.onnx", dynamic=False)
    model = onnx.load(path)
    kept = {entry.key for node in model.graph.node for entry in node.metadata_props}
    assert kept == {SCOPES}
    assert str(__file__).encode() not in path.read_bytes()
    named = {(node.op, node.module) for node in read_source(path).nodes}
    assert {("Conv", "body.0"), ("Gelu", "body.1"), ("Conv", "body.2")} <= named
    older, _ = lower(model, 16)
    assert {"body.0", "body.1", "body.2", "shuffle"} == {one.module for one in Source(older).nodes}


def test_what_is_no_onnx_is_one_line(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"no protobuf")
    for name in ("net.onnx", "none.onnx"):
        with pytest.raises(ExportError, match=r"cannot be read as ONNX|does not exist"):
            read_source(tmp_path / name)
