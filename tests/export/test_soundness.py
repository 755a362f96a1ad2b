"""Graphs that no runtime finishes or takes as meant: one line, before anything is run."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from edgesr_export.chain import convert
from edgesr_export.errors import ExportError
from edgesr_export.model_file import load_model
from edgesr_export.sizes import input_shape
from edgesr_export.soundness import check_sound
from edgesr_export.tensorrt import build
from onnx import TensorProto, helper, numpy_helper

IMAGE = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
ANSWER = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
TRUE = numpy_helper.from_array(np.array(True), "c")


def relu(source="x", output="y", **more):
    return helper.make_node("Relu", [source], [output], **more)


def model(*nodes, stored=(), image=IMAGE, functions=()):
    graph = helper.make_graph(nodes, "g", [image], [ANSWER], list(stored))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))


def image(*shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info("x", kind, shape)


def loop(rounds: str):
    body = helper.make_graph(
        [helper.make_node("Identity", ["in"], ["out"]), relu("v", "w")],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [1, 3, 8, 8]),
        ],
        [
            helper.make_tensor_value_info("out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 3, 8, 8]),
        ],
    )
    return helper.make_node("Loop", [rounds, "c", "x"], ["y"], body=body, name="again")


def count(number: int):
    return numpy_helper.from_array(np.array(number), "m")


def nested(depth: int):
    def branch(node, output):
        answer = helper.make_empty_tensor_value_info(output)
        return helper.make_graph([node], output, [], [answer])

    inner = branch(relu("x", "z0"), "z0")
    for index in range(1, depth):
        other = branch(relu("x", f"e{index}"), f"e{index}")
        node = helper.make_node("If", ["c"], [f"z{index}"], then_branch=inner, else_branch=other)
        inner = branch(node, f"z{index}")
    return helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)


def function(name: str, *calls: str):
    tensors = ["a", *(f"t{index}" for index in range(len(calls) - 1)), "b"]
    nodes = [
        helper.make_node(call, [tensors[index]], [tensors[index + 1]], domain="own")
        for index, call in enumerate(calls)
    ] or [relu("a", "b")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], nodes, opsets)


def call(name: str):
    return helper.make_node(name, ["x"], ["y"], domain="own")


def negative_weights():
    stored = numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "k")
    stored.dims[0] = -3
    return stored


HUNDRED = [function(f"F{n}", *[f"F{n + 1}"] * 10) for n in range(6)] + [function("F6")]

UNSOUND = {
    "a negative side": (model(relu(), image=image(1, 3, -8, 8)), r"x has shape \[1, 3, -8, 8\]"),
    "negative bands": (model(relu(), image=image(1, -3, 8, 8)), r"x has shape \[1, -3, 8, 8\]"),
    "a negative batch": (model(relu(), image=image(-1, 3, 8, 8)), r"x has shape \[-1, 3, 8, 8\]"),
    "negative weights": (
        model(helper.make_node("Conv", ["x", "k"], ["y"]), stored=[negative_weights()]),
        r"weights k of shape \[-3, 3, 1, 1\]",
    ),
    "no type": (model(relu(), image=image(1, 3, 8, 8, kind=99)), "x is of type 99"),
    "a circle": (
        model(helper.make_node("Add", ["x", "b"], ["a"], name="sum"), relu("a", "b"), relu("b")),
        "nodes in a circle, such as sum",
    ),
    "two writers": (model(relu(name="one"), relu(name="two")), "two nodes that write y"),
    "a loop without a count": (
        model(loop(""), stored=[TRUE]), r"loop \(again\) that may never end",
    ),
    "a loop whose count is computed": (
        model(helper.make_node("Size", ["x"], ["m"]), loop("m"), stored=[TRUE]),
        r"loop \(again\) that may never end",
    ),
    "a loop for ever": (model(loop("m"), stored=[TRUE, count(2**62)]), r"of 5e\+18 rounds"),
    "graphs within graphs": (model(nested(18), stored=[TRUE]), "more than 16 deep"),
    "a function of itself": (
        model(call("F"), functions=[function("F", "F")]), "functions that call each other, .* F",
    ),
    "two functions of each other": (
        model(call("F"), functions=[function("F", "G"), function("G", "F")]), "call each other",
    ),
    "functions that multiply": (model(call("F0"), functions=HUNDRED), r"1\.0e\+06 nodes"),
}  # fmt: skip

SOUND = {
    "nodes in any order": model(relu("a"), relu("x", "a")),
    "a loop with an end": model(loop("m"), stored=[TRUE, count(20)]),
    "conditions": model(nested(3), stored=[TRUE]),
    "functions": model(call("F"), functions=[function("F", "G", "G"), function("G")]),
    "free axes": model(relu(), image=image("n", 3, "h", "w")),
}


@pytest.mark.parametrize("kind", UNSOUND)
def test_what_nobody_can_work_on_is_one_line_everywhere(kind, tmp_path):
    broken, message = UNSOUND[kind]
    path, output = tmp_path / "net.onnx", tmp_path / "out.onnx"
    path.write_bytes(broken.SerializeToString())
    for use in (
        lambda: convert(path, output, target="cpu"),
        lambda: build(path, tmp_path / "out.engine", expect="fp32", compute_capability="8.6"),
        lambda: input_shape(path),
    ):
        with pytest.raises(ExportError, match=message) as caught:
            use()
        assert len(str(caught.value).splitlines()) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize("kind", SOUND)
def test_what_networks_have_is_taken(kind):
    check_sound(SOUND[kind], "net.onnx")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("a\0b", "no name of a file"),
        ("a" * 5000, "no name of a file"),
        ("/".join(["a" * 200] * 50), "no name of a file"),
        ("..", "outside its folder"),
        ("", "outside its folder"),
        ("weights.bin", "does not exist"),
        (".", "does not exist"),
    ],
)
def test_weights_beside_a_file_have_a_name_that_can_be_one(tmp_path, location, message):
    stored = TensorProto(name="k", data_type=TensorProto.FLOAT, dims=[3, 3, 1, 1])
    stored.data_location = TensorProto.EXTERNAL
    entry = stored.external_data.add()
    entry.key, entry.value = "location", location
    path = tmp_path / "net.onnx"
    path.write_bytes(
        model(helper.make_node("Conv", ["x", "k"], ["y"]), stored=[stored]).SerializeToString()
    )
    with pytest.raises(ExportError, match=message) as caught:
        load_model(path)
    assert len(str(caught.value)) < 400 + 2 * len(str(tmp_path))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("input", "float16"),
        ("weights", "weights in float16"),
        ("bfloat16", "weights in bfloat16"),
        ("int8", "DequantizeLinear"),
    ],
)
def test_a_file_of_another_precision_does_not_pass_for_float32(
    tmp_path, precision, changed, message
):
    half = "float16" if changed == "input" else "float"
    body = {
        "input": "y = Conv(x, k)",
        "weights": "f = Cast<to = 1>(k)  y = Conv(x, f)",
        "bfloat16": "f = Cast<to = 1>(k)  y = Conv(x, f)",
        "int8": "f = DequantizeLinear(k, s)  y = Conv(x, f)",
    }[changed]
    made = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g ({half}[1, 3, 8, 8] x)'
        f" => ({half}[n, c, h, w] y) {{ {body} }}"
    )
    kinds = {"bfloat16": TensorProto.BFLOAT16, "int8": TensorProto.INT8}
    kind = kinds.get(changed, TensorProto.FLOAT16)
    made.graph.initializer.append(helper.make_tensor("k", kind, [3, 3, 1, 1], [1] * 9))
    made.graph.initializer.append(helper.make_tensor("s", TensorProto.FLOAT, [], [0.1]))
    path = tmp_path / "net.onnx"
    onnx.save(made, path)
    with pytest.raises(ExportError, match=rf"net\.onnx is no float32 file \({message}\)"):
        convert(path, tmp_path / "out.onnx", target="cpu", precision=precision)
    assert not (tmp_path / "out.onnx").exists()
