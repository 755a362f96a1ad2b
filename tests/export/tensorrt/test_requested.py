from __future__ import annotations

import numpy as np
import onnx
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.tensorrt.requested import check_expected, name_nodes, requested

KERNEL = np.ones((3, 3, 1, 1))
QUANTISED = """
    q = QuantizeLinear(x, s, z)
    d = DequantizeLinear(q, s, z)
    {between}
    y = Conv(d2, w)
"""
WEIGHTS = "wq = DequantizeLinear(w8, s, z)\n w = Cast<to=1>(wq)"


def asked(path):
    model = onnx.load(path)
    name_nodes(model)
    return requested(model)


def test_the_type_of_a_layer_is_what_it_asks_for(write):
    body = "a = Conv(x, w)\n b = Cast<to=10>(a)\n c = Conv(b, h)\n d = Relu(c)\n y = Cast<to=1>(d)"
    path = write(body, {"w": KERNEL.astype(np.float32), "h": KERNEL.astype(np.float16)})
    assert asked(path) == {"Conv_0": "fp32", "Conv_2": "fp16"}


@pytest.mark.parametrize(
    ("between", "precision"),
    [
        (f"{WEIGHTS}\n d2 = Identity(d)", "int8"),
        (f"{WEIGHTS}\n d1 = Transpose<perm=[0,1,3,2]>(d)\n d2 = Cast<to=1>(d1)", "int8"),
        (f"{WEIGHTS}\n d2 = Relu(d)", "fp32"),
        ("w = Identity(plain)\n d2 = Identity(d)", "fp32"),
    ],
    ids=["pairs", "moved", "another operator between", "weights in float"],
)
def test_a_layer_between_quantised_pairs_asks_for_int8(write, between, precision):
    values = {
        "s": np.float32(0.1),
        "z": np.int8(0),
        "w8": KERNEL.astype(np.int8),
        "plain": KERNEL.astype(np.float32),
    }
    assert list(asked(write(QUANTISED.format(between=between), values)).values()) == [precision]


@pytest.mark.parametrize(
    ("zero_point", "problem"),
    [
        (np.uint8(0), "uses uint8"),
        (np.uint8(128), "uses uint8"),
        (np.int8(3), "zero point other than 0"),
        (None, "no zero point, which means uint8"),
    ],
)
@pytest.mark.parametrize("constant", [False, True])
def test_a_quantisation_that_tensorrt_does_not_have_is_refused_by_name(
    write, zero_point, problem, constant
):
    values = {"s": np.float32(0.1)}
    point = "" if zero_point is None else ", z"
    body = f"q = QuantizeLinear(x, s{point})\n y = DequantizeLinear(q, s{point})"
    if zero_point is not None:
        values["z"] = zero_point
    path = write(body, values)
    if constant and zero_point is not None:  # the zero point as a node instead
        model = onnx.load(path)
        value = model.graph.initializer.pop()
        node = onnx.helper.make_node("Constant", [], ["z"], value=value)
        model.graph.node.insert(0, node)
        onnx.save(model, path)
    with pytest.raises(ExportError, match=rf"layer QuantizeLinear_\d \(.*\) .*{problem}"):
        asked(path)


def test_a_signed_type_by_attribute_needs_no_zero_point(write):
    body = "q = QuantizeLinear<output_dtype=3>(x, s)\n y = DequantizeLinear(q, s)"
    assert asked(write(body, {"s": np.float32(0.1)}, opset=21)) == {}


def test_double_precision_is_refused(write):
    shape = "double[1, 3, 8, 8]"
    path = write("y = Conv(x, w)", {"w": KERNEL}, inputs=f"{shape} x", outputs=f"{shape} y")
    with pytest.raises(ExportError, match=r"Conv_0 \(Conv\) has no known floating-point type"):
        asked(path)


def test_every_node_gets_a_name_of_its_own(write):
    model = onnx.load(write("a = Relu(x)\n b = Relu(a)\n y = Relu(b)"))
    model.graph.node[0].name = model.graph.node[2].name = "same"
    name_nodes(model)
    assert [node.name for node in model.graph.node] == ["same", "Relu_1", "same_2"]


def test_a_float32_layer_among_half_ones_must_have_a_reason():
    mixed = {"a": "fp16", "b": "fp32"}
    check_expected(mixed, {"b": "weights beyond float16"}, "fp16")
    with pytest.raises(ExportError, match=r"1 layers .* otherwise, such as b \(fp32\)"):
        check_expected(mixed, {}, "fp16")
    check_expected({"a": "int8", "b": "fp32", "c": "fp16"}, {}, "int8")
    check_expected({}, {}, "fp32")
