from __future__ import annotations

from collections import Counter

import numpy as np
import onnxruntime
import pytest
from edgesr_export.rewrite import rewrite
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper


def sum_of_shuffles(left, right, channels, outputs=("y",)):
    """y = DepthToSpace(a) + DepthToSpace(b), with (blocksize, mode) of each."""
    nodes = [
        helper.make_node("DepthToSpace", ["a"], ["p"], blocksize=left[0], mode=left[1]),
        helper.make_node("DepthToSpace", ["b"], ["q"], blocksize=right[0], mode=right[1]),
        helper.make_node("Add", ["p", "q"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "shuffles",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", depth, None, None])
            for name, depth in zip("ab", channels, strict=True)
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in outputs],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model, a, b):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"a": a, "b": b})


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


@settings(deadline=None, max_examples=15)
@given(
    factor=st.integers(2, 4),
    mode=st.sampled_from(["CRD", "DCR"]),
    shape=st.tuples(*[st.integers(1, 4)] * 4),
    seed=st.integers(0, 99),
)
def test_the_sum_of_shuffles_is_the_shuffle_of_the_sum(factor, mode, shape, seed):
    batch, bands, height, width = shape
    depth = bands * factor**2
    model = sum_of_shuffles((factor, mode), (factor, mode), (depth, depth))
    rewritten, done = rewrite(model)
    assert done == ["sum of two pixel shuffles -> one pixel shuffle of the sum"]
    assert operators(rewritten) == {"Add": 1, "DepthToSpace": 1}
    a, b = np.random.default_rng(seed).random((2, batch, depth, height, width), dtype=np.float32)
    np.testing.assert_array_equal(run(rewritten, a, b)[0], run(model, a, b)[0])


@pytest.mark.parametrize(
    "model",
    [
        sum_of_shuffles((2, "CRD"), (2, "DCR"), (8, 8)),
        sum_of_shuffles((2, "CRD"), (4, "CRD"), (8, 32)),
        sum_of_shuffles((2, "CRD"), (2, "CRD"), (4, 8)),
        sum_of_shuffles((2, "CRD"), (2, "CRD"), ("c", "d")),
        sum_of_shuffles((2, "CRD"), (2, "CRD"), (8, 8), outputs=("y", "p")),
    ],
    ids=["other order", "other factor", "broadcast", "unknown channels", "used elsewhere"],
)
def test_look_alikes_stay_untouched(model):
    rewritten, done = rewrite(model)
    assert done == []
    assert operators(rewritten) == {"Add": 1, "DepthToSpace": 2}
