"""Channel attention before an int8 convolution, and the means that its gate is made of."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from edgesr_export.rewrite import rewrite
from edgesr_export.targets import find_target
from hypothesis import given, settings
from hypothesis import strategies as st

RNG = np.random.default_rng(0)


def attention(rewriting, depths=(2, 3), gate="1, 1", axis=1, scales=1, more=""):
    """Levels of Concat(parts) * gate, brought back to float32."""
    total = sum(depths)
    parts = [f"p{index}" for index in range(len(depths))]
    inputs = ", ".join(
        f"float[n, {depth}, h, w] {part}" for part, depth in zip(parts, depths, strict=True)
    )
    return rewriting.model(
        f"""({inputs}, float[n, {total}, {gate}] g) => (float[n, {total}, h, w] y) {{
            s = Concat <axis = {axis}> ({", ".join(parts)})
            m = Mul(g, s)
            q = QuantizeLinear <axis = 1> (m, scale, zero)
            {more}
            y = DequantizeLinear <axis = 1> (q, scale, zero)
        }}""",
        {
            "scale": np.full((scales,) if scales > 1 else (), 0.02, np.float32),
            "zero": np.full((scales,) if scales > 1 else (), 100, np.uint8),
        },
    )


def images(depths, shape):
    batch, height, width = shape
    return [RNG.standard_normal((batch, d, height, width), dtype=np.float32) for d in depths]


@settings(deadline=None, max_examples=25)
@given(
    depths=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
)
def test_every_part_is_quantised_with_its_channels_last(rewriting, depths, shape):
    model = attention(rewriting, depths)
    gate = RNG.random((shape[0], sum(depths), 1, 1), dtype=np.float32)
    found = rewriting.same(model, *images(depths, shape), gate, target="cpu", atol=0)
    assert found["QuantizeLinear"] == found["Mul"] == len(depths)
    assert found["Transpose"] == len(depths) + 1


def test_only_bytes_are_joined(rewriting):
    rewritten, _ = rewrite(attention(rewriting), find_target("cpu").rules)
    levels = {
        name for n in rewritten.graph.node if n.op_type == "QuantizeLinear" for name in n.output
    }
    joins = [n for n in rewritten.graph.node if n.op_type == "Concat"]
    assert any(set(node.input) == levels for node in joins)


def test_only_for_the_runtime_that_gains(rewriting):
    for target in ("", "tensorrt", "openvino"):
        rewriting.untouched(attention(rewriting), target=target)


@pytest.mark.parametrize(
    "changes",
    [
        {"gate": "h, w"},
        {"axis": 0, "depths": (3, 3), "gate": "1, 1"},
        {"scales": 5},
        {"more": "z = Identity(m)"},
        {"depths": (5,)},
    ],
    ids=["gate of pixels", "joined images", "a scale a channel", "a product in float", "one part"],
)
def test_look_alikes_stay_untouched(rewriting, changes):
    if changes.get("axis") == 0:
        model = rewriting.model(
            """(float[n, 3, h, w] p0, float[n, 3, h, w] p1, float[n2, 3, 1, 1] g)
                => (float[n2, 3, h, w] y) {
                s = Concat <axis = 0> (p0, p1)
                m = Mul(g, s)
                q = QuantizeLinear(m, scale, zero)
                y = DequantizeLinear(q, scale, zero)
            }""",
            {"scale": np.array(0.02, np.float32), "zero": np.array(100, np.uint8)},
        )
    else:
        model = attention(rewriting, **changes)
        if "more" in changes:
            model.graph.output.append(onnx.ValueInfoProto(name="z"))
    rewritten, _ = rewrite(model, find_target("cpu").rules)
    assert sum(n.op_type == "QuantizeLinear" for n in rewritten.graph.node) == 1


def means(rewriting, depths=(2, 3), axes=(2, 3), keepdims=1, more=False):
    parts = [f"p{index}" for index in range(len(depths))]
    inputs = ", ".join(
        f"float[n, {depth}, h, w] {part}" for part, depth in zip(parts, depths, strict=True)
    )
    extra = f", float[n, {sum(depths)}, h, w] s" if more else ""
    shape = f"n, {sum(depths)}, 1, 1" if keepdims else f"n, {sum(depths)}"
    return rewriting.model(
        f"""({inputs}) => (float[{shape}] y{extra}) {{
            s = Concat <axis = 1> ({", ".join(parts)})
            y = ReduceMean <keepdims = {keepdims}> (s, axes)
        }}""",
        {"axes": np.array(axes)},
    )


@settings(deadline=None, max_examples=25)
@given(
    depths=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    axes=st.sampled_from([(2, 3), (-1, -2), (3, 2)]),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
)
def test_the_mean_is_made_of_the_parts(rewriting, depths, axes, shape):
    model = means(rewriting, depths, axes)
    found = rewriting.same(model, *images(depths, shape), target="cpu")
    assert found == {"GlobalAveragePool": len(depths), "Concat": 1}


@pytest.mark.parametrize(
    "changes",
    [{"axes": (1, 2, 3)}, {"axes": (2,)}, {"keepdims": 0}, {"more": True}],
    ids=["channels too", "rows alone", "axes dropped", "the sum is needed"],
)
def test_other_means_stay_untouched(rewriting, changes):
    if changes.get("axes") in ((1, 2, 3), (2,)):
        kept = "n, 1, 1, 1" if changes["axes"] == (1, 2, 3) else "n, 5, 1, w"
        model = rewriting.model(
            f"""(float[n, 2, h, w] a, float[n, 3, h, w] b) => (float[{kept}] y) {{
                s = Concat <axis = 1> (a, b)
                y = ReduceMean(s, axes)
            }}""",
            {"axes": np.array(changes["axes"])},
        )
    else:
        model = means(rewriting, **changes)
    rewriting.untouched(model, target="cpu")
