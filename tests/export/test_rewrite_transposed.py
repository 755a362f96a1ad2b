"""Transposed convolutions as convolutions: ONNX Runtime's answer to the given form is the truth."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from edgesr_export.rewrite.transposed import by_convolutions
from hypothesis import given, settings
from hypothesis import strategies as st

RNG = np.random.default_rng(0)


def enlarging(
    rewriting, kernel=4, rate=2, padding=1, more=0, groups=1, dilation=1, bias=True, extra=""
):
    """y = ConvTranspose(x), 2 channels a group to 3."""
    constants = {"W": RNG.standard_normal((2 * groups, 3, kernel, kernel), dtype=np.float32)}
    if bias:
        constants["c"] = RNG.standard_normal(3 * groups, dtype=np.float32)
    return rewriting.model(
        f"""(float[n, {2 * groups}, h, w] x) => (float[n, {3 * groups}, h2, w2] y) {{
            [up] y = ConvTranspose <strides = [{rate}, {rate}], group = {groups},
                pads = [{padding}, {padding}, {padding}, {padding}],
                output_padding = [{more}, {more}], dilations = [{dilation}, {dilation}] {extra}>
                (x, W{", c" if bias else ""})
        }}""",
        constants,
    )


@settings(deadline=None, max_examples=40)
@given(
    rate=st.integers(1, 4),
    kernel=st.integers(1, 6),
    padding=st.integers(0, 3),
    groups=st.integers(1, 3),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 5)),
)
def test_any_that_enlarges_by_its_stride_is_written_so(
    rewriting, rate, kernel, padding, groups, dilation, bias, shape
):
    more = rate + 2 * padding - dilation * (kernel - 1) - 1
    if not 0 <= more < max(rate, dilation):
        return
    model = enlarging(rewriting, kernel, rate, padding, more, groups, dilation, bias)
    written = by_convolutions(model)
    onnx.checker.check_model(written, full_check=True)
    found = Counter(node.op_type for node in written.graph.node)
    assert found == {"Conv": 1} | ({"DepthToSpace": 1} if rate > 1 else {})
    x = RNG.standard_normal((shape[0], 2 * groups, *shape[1:]), dtype=np.float32)
    expected = rewriting.run(model, x)
    np.testing.assert_allclose(rewriting.run(written, x), expected, atol=1e-5, rtol=1e-5)


def test_a_convolution_has_the_name_of_its_layer_and_others_stay(rewriting):
    model = enlarging(rewriting)
    assert by_convolutions(model, ["up"]).graph.node[0].name == "up"
    assert [node.op_type for node in by_convolutions(model, ["down"]).graph.node] == [
        "ConvTranspose"
    ]


@pytest.mark.parametrize(
    "changes",
    [{"padding": 0}, {"more": 1}, {"extra": ", output_shape = [10, 10]"}],
    ids=["not cropped", "one pixel more", "an output of one size"],
)
def test_look_alikes_stay(rewriting, changes):
    model = enlarging(rewriting, **changes)
    assert [node.op_type for node in by_convolutions(model).graph.node] == ["ConvTranspose"]


@pytest.mark.parametrize(
    ("weight", "strides"), [((2, 3, 2, 4), (1, 2)), ((2, 3, 2, 2, 2), (2, 2, 2))]
)
def test_strides_that_differ_and_volumes_stay(rewriting, weight, strides):
    shape = "n, 2" + ", h" * len(strides)
    model = rewriting.model(
        f"""(float[{shape}] x) => (float[m, 3{", k" * len(strides)}] y) {{
            y = ConvTranspose <strides = [{", ".join(map(str, strides))}]> (x, W)
        }}""",
        {"W": np.ones(weight, np.float32)},
    )
    assert [node.op_type for node in by_convolutions(model).graph.node] == ["ConvTranspose"]
