"""LayerNormalization over channels: its affine part, and its two transposes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

RNG = np.random.default_rng(0)


def norm_and_conv(
    rewriting,
    groups=1,
    width=4,
    kernel=1,
    bias=True,
    shift=True,
    perm="0, 3, 1, 2",
    pads=0,
    axis=-1,
):
    """y = Conv(LayerNormalization over channels (x)), ``width`` channels a group."""
    depth = width * groups
    constants = {
        "W": RNG.standard_normal((3 * groups, width, kernel, kernel), dtype=np.float32),
        "g": RNG.standard_normal(depth, dtype=np.float32),
    }
    if bias:
        constants["c"] = RNG.standard_normal(3 * groups, dtype=np.float32)
    if shift:
        constants["b"] = RNG.standard_normal(depth, dtype=np.float32)
    return rewriting.model(
        f"""(float[n, {depth}, h, w] x) => (float[n, {3 * groups}, h2, w2] y) {{
            p = Transpose <perm = [0, 2, 3, 1]> (x)
            q = LayerNormalization <axis = {axis}> (p, g{", b" if shift else ""})
            i = Transpose <perm = [{perm}]> (q)
            y = Conv <group = {groups}, pads = [{pads}, {pads}, {pads}, {pads}]>
                (i, W{", c" if bias else ""})
        }}""",
        constants,
    )


@settings(deadline=None, max_examples=20)
@given(
    groups=st.integers(1, 3),
    width=st.integers(2, 5),
    bias=st.booleans(),
    shift=st.booleans(),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
)
def test_the_affine_part_moves_into_the_convolution(rewriting, groups, width, bias, shift, shape):
    model = norm_and_conv(rewriting, groups, width, bias=bias, shift=shift)
    x = RNG.standard_normal((shape[0], groups * width, *shape[1:]), dtype=np.float32)
    found = rewriting.same(model, x, atol=1e-4)
    assert found == {"Transpose": 2, "LayerNormalization": 1, "Conv": 1}


@pytest.mark.parametrize(
    "changes",
    [{"kernel": 3, "pads": 1}, {"kernel": 3}, {"pads": 1}, {"perm": "0, 3, 2, 1"}],
    ids=["3 x 3", "3 x 3 without padding", "padding", "other axes"],
)
def test_look_alikes_stay_untouched(rewriting, changes):
    rewriting.untouched(norm_and_conv(rewriting, **changes))


def test_a_norm_that_is_read_elsewhere_stays(rewriting):
    rewriting.untouched(
        rewriting.model(
            """(float[n, h, w, 4] p) => (float[n, 4, h, w] y, float[n, h, w, 4] q) {
                q = LayerNormalization(p, g)
                i = Transpose <perm = [0, 3, 1, 2]> (q)
                y = Conv(i, W)
            }""",
            {
                "g": RNG.random(4, dtype=np.float32),
                "W": RNG.random((4, 4, 1, 1), dtype=np.float32),
            },
        )
    )


@settings(deadline=None, max_examples=15)
@given(
    depth=st.integers(2, 9),
    shift=st.booleans(),
    level=st.sampled_from([0.0, 100.0]),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
)
def test_openvino_gets_means_over_channels_in_place(rewriting, depth, shift, level, shape):
    constants = {"g": RNG.standard_normal(depth, dtype=np.float32)}
    if shift:
        constants["b"] = RNG.standard_normal(depth, dtype=np.float32)
    model = rewriting.model(
        f"""(float[n, {depth}, h, w] x) => (float[n, {depth}, h, w] y) {{
            p = Transpose <perm = [0, 2, 3, 1]> (x)
            q = LayerNormalization (p, g{", b" if shift else ""})
            y = Transpose <perm = [0, 3, 1, 2]> (q)
        }}""",
        constants,
    )
    rewriting.untouched(model, target="cpu")
    x = level + RNG.standard_normal((shape[0], depth, *shape[1:]), dtype=np.float32)
    found = rewriting.same(model, x.astype(np.float32), target="openvino", atol=2e-3)
    assert "LayerNormalization" not in found
    assert "Transpose" not in found


def test_names_that_a_quantiser_gave_are_not_taken_again(rewriting):
    """Its scale of a tensor y is called y.scale."""
    model = rewriting.model(
        """(float[n, 4, h, w] x) => (float[n, 4, h, w] z) {
            p = Transpose <perm = [0, 2, 3, 1]> (x)
            q = LayerNormalization (p, g)
            y = Transpose <perm = [0, 3, 1, 2]> (q)
            i = QuantizeLinear (y, y_scale, y_zero)
            z = DequantizeLinear (i, y_scale, y_zero)
        }""",
        {
            "g": RNG.standard_normal(4, dtype=np.float32),
            "y_scale": np.array(0.05, np.float32),
            "y_zero": np.array(100, np.uint8),
        },
    )
    for node in model.graph.node:
        node.input[:] = [name.replace("_", ".") for name in node.input]
    for tensor in model.graph.initializer:
        tensor.name = tensor.name.replace("_", ".")
    x = RNG.standard_normal((1, 4, 3, 5), dtype=np.float32)
    assert rewriting.same(model, x, target="openvino", atol=0.051)["Transpose"] == 0


@pytest.mark.parametrize(
    ("last", "first", "axis"),
    [
        ("0, 3, 2, 1", "0, 3, 2, 1", -1),
        ("0, 2, 3, 1", "0, 3, 2, 1", -1),
        ("0, 2, 3, 1", "0, 3, 1, 2", 2),
    ],
    ids=["over rows", "back in another order", "over rows and channels"],
)
def test_other_norms_keep_their_transposes(rewriting, last, first, axis):
    scale = np.ones((4, 4) if axis == 2 else 4, np.float32)
    rewriting.untouched(
        rewriting.model(
            f"""(float[1, 4, 4, 4] x) => (float[1, 4, 4, 4] y) {{
                p = Transpose <perm = [{last}]> (x)
                q = LayerNormalization <axis = {axis}> (p, g)
                y = Transpose <perm = [{first}]> (q)
            }}""",
            {"g": scale},
        ),
        target="openvino",
    )
