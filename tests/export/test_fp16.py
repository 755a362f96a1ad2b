"""ONNX Runtime and the evaluator of onnx, which rounds after every operator, are the truth."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.fp16 import kept_in_float32, to_fp16
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

HALF, SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT
IMAGE = "float[batch, 4, height, width]"
NETWORK = """
    features = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, kernel)
    swapped = Transpose<perm=[0,2,3,1]>(features)
    normed = LayerNormalization<axis=-1>(swapped, scale)
    back = Transpose<perm=[0,3,1,2]>(normed)
    pooled = ReduceMean<keepdims=1>(back, axes)
    gate = Sigmoid(pooled)
    gated = Mul(back, gate)
    mixed = Conv<kernel_shape=[1,1]>(gated, mixing)
    y = Add(mixed, x)
"""


def write(path, body, initializers=None, *, opset=20, inputs=f"{IMAGE} x", outputs=f"{IMAGE} y"):
    text = f"""<ir_version: 10, opset_import: ["" : {opset}]>
        network ({inputs}) => ({outputs}) {{ {body} }}"""
    model = onnx.parser.parse_model(text)
    for name, array in (initializers or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    for node in model.graph.node:
        node.name = f"{node.op_type}.{node.output[0]}"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    random = np.random.default_rng(0)
    weights = {
        "kernel": random.normal(size=(4, 4, 3, 3)).astype(np.float32) / 6,
        "scale": np.ones(4, np.float32),
        "axes": np.array([2, 3]),
        "mixing": random.normal(size=(4, 4, 1, 1)).astype(np.float32) / 4,
    }
    return write(tmp_path_factory.mktemp("fp16") / "network.onnx", NETWORK, weights)


def run(path, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    return session.run(None, {"x": x})[0]


def types(path):
    """Element type of every tensor of the file."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


def operators(path):
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_numbers_in_constant_nodes_are_weights_too(tmp_path):
    """As the older exporter of torch writes them."""
    body = "half = Constant<value = float {0.5}>() y = Mul(x, half)"
    path = write(tmp_path / "in.onnx", body)
    to_fp16(path, tmp_path / "out.onnx")
    assert HALF in types(tmp_path / "out.onnx").values()
    assert operators(tmp_path / "out.onnx") == {"Cast": 2, "Mul": 1}
    x = np.random.default_rng(0).random((1, 4, 3, 3), dtype=np.float32)
    np.testing.assert_allclose(run(tmp_path / "out.onnx", x), x / 2, rtol=1e-3)


@settings(deadline=None, max_examples=15)
@given(
    shape=st.tuples(st.integers(1, 3), st.just(4), st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
)
def test_the_function_is_the_same_up_to_rounding(network, tmp_path_factory, shape, seed):
    half = network.with_name("half.onnx")
    if not half.exists():
        to_fp16(network, half)
    x = np.random.default_rng(seed).random(shape, dtype=np.float32)
    expected = run(network, x)
    assert np.abs(run(half, x) - expected).max() < 4e-3
    rounded = ReferenceEvaluator(onnx.load(half)).run(None, {"x": x})[0]
    assert np.abs(rounded - expected).max() < 8e-3
    assert np.abs(rounded - expected).max() > 0 or not x.any()


@pytest.mark.parametrize("entering", ["float32", "float16"])
@pytest.mark.parametrize("leaving", ["float32", "float16"])
def test_the_types_of_input_and_output_are_chosen(network, tmp_path, entering, leaving):
    path = tmp_path / "half.onnx"
    to_fp16(network, path, input_type=entering, output_type=leaving)
    graph = onnx.load(path).graph
    assert [graph.input[0].name, graph.output[0].name] == ["x", "y"]
    x = np.random.default_rng(0).random((1, 4, 6, 5)).astype(entering)
    y = run(path, x)
    assert y.dtype == leaving
    assert np.abs(y - run(network, x.astype(np.float32))).max() < 4e-3


def test_weights_and_activations_are_half_and_sums_are_not(network, tmp_path):
    result = to_fp16(network, tmp_path / "half.onnx")
    assert set(result.kept) == {"LayerNormalization.normed", "ReduceMean.pooled"}
    assert "many values" in result.kept["ReduceMean.pooled"]
    assert kept_in_float32(result.path) == result.kept
    assert result.halved == 7
    found = types(result.path)
    assert {found[name] for name in ("features", "back", "gate", "mixed")} == {HALF}
    assert {found[name] for name in ("normed", "pooled", "scale")} == {SINGLE}
    assert found["kernel.half"] == HALF
    assert "kernel" not in found  # no second copy of the weights stays
    assert operators(result.path)["Cast"] == result.casts == 6
    assert 0 < result.rounding <= 2**-11


def test_neighbours_in_float32_meet_without_a_cast(tmp_path):
    path = write(tmp_path / "sums.onnx", "a = Relu(x)\n b = Softmax(a)\n y = Softmax(b)")
    result = to_fp16(path, tmp_path / "half.onnx")
    assert operators(result.path) == {"Cast": 2, "Relu": 1, "Softmax": 2}


@pytest.mark.parametrize(
    ("value", "kept"),
    [(1e-8, True), (1e5, True), (np.inf, True), (0.0, False), (3.0, False)],
)
def test_a_constant_that_half_cannot_hold_stays_and_is_named(tmp_path, value, kept):
    path = write(tmp_path / "in.onnx", "a = Relu(x)\n y = Add(a, c)", {"c": np.float32(value)})
    result = to_fp16(path, tmp_path / "half.onnx")
    assert ("Add.y" in result.kept) == kept
    assert not kept or "c holds" in result.kept["Add.y"]


def test_weights_that_fall_below_the_normal_numbers_are_counted(tmp_path):
    kernel = np.array([1.0, 1e-5, 1e-9, 0.0], np.float32).reshape(1, 4, 1, 1)
    outputs = "float[batch, 1, height, width] y"
    path = write(tmp_path / "in.onnx", "y = Conv(x, k)", {"k": kernel}, outputs=outputs)
    assert to_fp16(path, tmp_path / "half.onnx").flushed == pytest.approx(2 / 3)


def test_arithmetic_on_sizes_stays_exact(tmp_path):
    """A row count of 2049 is no float16."""
    body = """
        shape = Shape(x)
        counts = Cast<to=1>(shape)
        larger = Mul(counts, factors)
        sizes = Cast<to=7>(larger)
        y = Resize<mode="nearest">(x, , , sizes)
    """
    path = write(tmp_path / "in.onnx", body, {"factors": np.ones(4, np.float32)})
    result = to_fp16(path, tmp_path / "half.onnx")
    assert result.kept["Mul.larger"] == "arithmetic on sizes"
    assert run(result.path, np.zeros((1, 4, 2049, 1), np.float32)).shape == (1, 4, 2049, 1)


def test_an_integer_image_is_no_size(tmp_path):
    body = "f = Cast<to=1>(x)\n y = Relu(f)"
    path = write(tmp_path / "in.onnx", body, inputs="uint16[batch, 4, height, width] x")
    result = to_fp16(path, tmp_path / "half.onnx", output_type="float16")
    assert result.kept == {}
    assert types(result.path)["f"] == HALF


def test_scales_of_a_resize_stay_float32(tmp_path):
    body = 'y = Resize<mode="linear">(x, , scales)'
    scales = np.array([1, 1, 2, 2], np.float32)
    path = write(tmp_path / "in.onnx", body, {"scales": scales})
    result = to_fp16(path, tmp_path / "half.onnx")
    x = np.random.default_rng(0).random((1, 4, 3, 5), dtype=np.float32)
    assert types(result.path)["scales"] == SINGLE
    np.testing.assert_allclose(run(result.path, x), run(path, x), atol=1e-3)


@pytest.mark.parametrize(("opset", "kept"), [(20, 0), (13, 2)])
def test_quantised_pairs_become_half_where_the_opset_has_it(tmp_path, opset, kept):
    body = "q = QuantizeLinear(x, s, z)\n d = DequantizeLinear(q, s, z)\n y = Relu(d)"
    values = {"s": np.float32(0.01), "z": np.int8(0)}
    path = write(tmp_path / "in.onnx", body, values, opset=opset)
    result = to_fp16(path, tmp_path / "half.onnx")
    assert len(result.kept) == kept
    x = np.random.default_rng(0).random((1, 4, 3, 5), dtype=np.float32)
    np.testing.assert_allclose(run(result.path, x), run(path, x), atol=0.011)


def test_a_layer_can_be_kept_on_request(network, tmp_path):
    result = to_fp16(network, tmp_path / "half.onnx", keep=["Conv", "Sigmoid.gate"])
    assert result.kept["Conv.features"] == result.kept["Sigmoid.gate"] == "asked for"
    assert types(result.path)["features"] == SINGLE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_type": "float8"}, "input_type is float32 or float16, got 'float8'"),
        ({"keep": ["Conv.nowhere"]}, r"no node or operator Conv\.nowhere"),
    ],
)
def test_bad_options_are_one_clear_line(network, tmp_path, options, message):
    with pytest.raises(ExportError, match=message):
        to_fp16(network, tmp_path / "half.onnx", **options)
    assert not any(tmp_path.iterdir())


def test_a_file_that_is_half_already_is_refused(network, tmp_path):
    half = tmp_path / "half.onnx"
    to_fp16(network, half, input_type="float16", output_type="float16", keep=[])
    body = "y = Relu(x)"
    path = write(
        tmp_path / "in.onnx", body, inputs=IMAGE.replace("float", "float16") + " x",
        outputs=IMAGE.replace("float", "float16") + " y",
    )  # fmt: skip
    with pytest.raises(ExportError, match="no float32 layer"):
        to_fp16(path, tmp_path / "again.onnx")


def test_control_flow_is_refused_by_name(tmp_path):
    body = """
        flag = ReduceMax<keepdims=0>(x)
        yes = Cast<to=9>(flag)
        y = If (yes) <
            then_branch = yes_graph () => (float[batch, 4, height, width] a) { a = Relu(x) },
            else_branch = no_graph () => (float[batch, 4, height, width] b) { b = Neg(x) }
        >
    """
    path = write(tmp_path / "in.onnx", body)
    with pytest.raises(ExportError, match=r"control flow \(If If\.y\)"):
        to_fp16(path, tmp_path / "half.onnx")
