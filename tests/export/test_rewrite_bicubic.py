"""ONNX Runtime's own Resize is the truth; the rewritten graph runs in the same runtime."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from edgesr_export.rewrite import rewrite
from edgesr_export.rewrite.bicubic import phase_kernels
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

CUBIC = {
    "mode": "cubic",
    "coordinate_transformation_mode": "half_pixel",
    "cubic_coeff_a": -0.75,
    "nearest_mode": "floor",
}


def resize_model(scales=None, sizes=None, bands=3, free=True, dtype=TensorProto.FLOAT, **changes):
    """x [N, bands, H, W] -> Resize, with the attributes of torch's bicubic unless changed."""
    attributes = {**CUBIC, **changes}
    initializers = []
    if scales is not None:
        initializers.append(numpy_helper.from_array(np.array(scales, np.float32), "scales"))
    if sizes is not None:
        initializers.append(numpy_helper.from_array(np.array(sizes, np.int64), "sizes"))
    inputs = ["x", "", "scales"] if scales is not None else ["x", "", "", "sizes"]
    shape = ["batch", bands, "height", "width"] if free else [2, bands, 6, 5]
    graph = helper.make_graph(
        [helper.make_node("Resize", inputs, ["y"], **attributes)],
        "resize",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, sizes or [None, bands, None, None])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


@settings(deadline=None, max_examples=20)
@given(
    factor=st.integers(2, 8),
    bands=st.integers(1, 5),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    a=st.sampled_from([-0.75, -0.5, -1.0]),
    seed=st.integers(0, 99),
)
def test_equal_to_resize_for_any_shape(factor, bands, shape, a, seed):
    model = resize_model([1, 1, factor, factor], bands=bands, cubic_coeff_a=a)
    rewritten, done = rewrite(model)
    assert done == ["bicubic Resize -> edge Pad, depthwise 5 x 5 Conv, pixel shuffle"]
    assert operators(rewritten) == {"Pad": 1, "Conv": 1, "DepthToSpace": 1}
    batch, height, width = shape
    x = np.random.default_rng(seed).random((batch, bands, height, width), dtype=np.float32)
    np.testing.assert_allclose(run(rewritten, x), run(model, x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_equal_to_the_bicubic_of_torch(factor):
    x = torch.rand(2, 4, 7, 6, generator=torch.Generator().manual_seed(0))
    rewritten, _ = rewrite(resize_model([1, 1, factor, factor], bands=4))
    expected = F.interpolate(x, scale_factor=factor, mode="bicubic", align_corners=False)
    np.testing.assert_allclose(run(rewritten, x.numpy()), expected.numpy(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "model",
    [
        resize_model(sizes=[2, 3, 18, 15], free=False),
        resize_model([3, 3], axes=[2, 3]),
        resize_model([3, 3], axes=[-2, -1]),
        resize_model([1, 1, 3, 3], coordinate_transformation_mode="pytorch_half_pixel"),
    ],
    ids=["sizes", "axes", "axes from the end", "half pixel as torch says it"],
)
def test_other_ways_to_say_the_same_are_rewritten(model):
    rewritten, done = rewrite(model)
    assert done
    x = np.random.default_rng(0).random((2, 3, 6, 5), dtype=np.float32)
    np.testing.assert_allclose(run(rewritten, x), run(model, x), atol=1e-5, rtol=0)


def test_a_factor_known_only_as_an_expression_is_found():
    """As torch exports interpolate(size=(4 * H, 4 * W)) with free axes."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Mul", ["shape", "by"], ["sizes"]),
        helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **CUBIC),
    ]
    graph = helper.make_graph(
        nodes,
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, "4*h", "4*w"])],
        [numpy_helper.from_array(np.array([1, 1, 4, 4]), "by")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    rewritten, _ = rewrite(model)
    assert operators(rewritten) == {"Pad": 1, "Conv": 1, "DepthToSpace": 1}
    x = np.random.default_rng(0).random((2, 3, 5, 4), dtype=np.float32)
    np.testing.assert_allclose(run(rewritten, x), run(model, x), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "model",
    [
        resize_model([1, 1, 2, 2], antialias=1),
        resize_model([1, 1, 2, 2], exclude_outside=1),
        resize_model([1, 1, 2, 2], coordinate_transformation_mode="align_corners"),
        resize_model([1, 1, 2, 2], coordinate_transformation_mode="asymmetric"),
        resize_model([1, 1, 2, 2], mode="linear"),
        resize_model([1, 1, 2, 2], mode="nearest"),
        resize_model([1, 1, 2.5, 2.5]),
        resize_model([1, 1, 2, 3]),
        resize_model([1, 1, 0.5, 0.5]),
        resize_model([2, 2], axes=[0, 2]),
        resize_model(sizes=[2, 3, 11, 10], free=False),
        resize_model(sizes=[2, 3, 12, 10]),
        resize_model([1, 1, 2, 2], bands="bands"),
    ],
    ids=[
        "antialias",
        "exclude outside",
        "align corners",
        "asymmetric",
        "linear",
        "nearest",
        "fraction",
        "unequal factors",
        "reduction",
        "other axes",
        "sizes that are no multiple",
        "fixed size from a free one",
        "unknown number of bands",
    ],
)
def test_look_alikes_stay_untouched(model):
    rewritten, done = rewrite(model)
    assert done == []
    assert operators(rewritten) == {"Resize": 1}


def test_half_precision_stays_half_precision():
    rewritten, done = rewrite(resize_model([1, 1, 2, 2], dtype=TensorProto.FLOAT16))
    assert done
    kernel = next(t for t in rewritten.graph.initializer if t.name.endswith("bicubic"))
    assert kernel.data_type == TensorProto.FLOAT16


def test_several_images_of_one_graph_are_all_rewritten():
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["half"], **CUBIC),
        helper.make_node("Resize", ["half", "", "scales"], ["y"], **CUBIC),
    ]
    graph = helper.make_graph(
        nodes,
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, None, None])],
        [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)
    rewritten, done = rewrite(model)
    assert done == ["bicubic Resize -> edge Pad, depthwise 5 x 5 Conv, pixel shuffle (2 times)"]
    x = np.random.default_rng(0).random((1, 2, 4, 3), dtype=np.float32)
    np.testing.assert_allclose(run(rewritten, x), run(model, x), atol=1e-5, rtol=0)


def test_the_given_model_is_left_alone():
    model = resize_model([1, 1, 2, 2])
    before = model.SerializeToString()
    rewrite(model)
    assert model.SerializeToString() == before


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 9), st.floats(-1, -0.25))
def test_kernels_keep_a_constant_and_mirror(factor, a):
    kernels = phase_kernels(factor, a)
    assert kernels.shape == (factor**2, 1, 5, 5)
    np.testing.assert_allclose(kernels.sum((1, 2, 3)), 1, atol=1e-12)
    np.testing.assert_allclose(kernels[::-1, :, ::-1, ::-1], kernels, atol=1e-12)
