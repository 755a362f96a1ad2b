from __future__ import annotations

import numpy as np
import pytest
from edgesr_export.rewrite import rewrite
from hypothesis import given, settings
from hypothesis import strategies as st

RNG = np.random.default_rng(0)


def scaled_conv(rewriting, scale, channels=4, groups=1, bias=True, flipped=False, extra=""):
    """y = Conv(x) * s, x with 2 channels a group."""
    constants = {
        "W": RNG.standard_normal((channels * groups, 2, 1, 1), dtype=np.float32),
        "s": np.asarray(scale, np.float32),
    }
    if bias:
        constants["c"] = RNG.standard_normal(channels * groups, dtype=np.float32)
    output = f"float[n, {channels * groups}, h, w]"
    return rewriting.model(
        f"""(float[n, {2 * groups}, h, w] x) => ({output} y{f", {output} {extra}" if extra else ""})
        {{
            z = Conv <group = {groups}> (x, W{", c" if bias else ""})
            y = Mul({"s, z" if flipped else "z, s"})
        }}""",
        constants,
    )


@settings(deadline=None, max_examples=20)
@given(
    channels=st.integers(1, 5),
    groups=st.integers(1, 3),
    bias=st.booleans(),
    flipped=st.booleans(),
    rank=st.integers(3, 4),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
)
def test_a_factor_per_channel_is_taken_in(rewriting, channels, groups, bias, flipped, rank, shape):
    factors = RNG.standard_normal((1,) * (rank - 3) + (channels * groups, 1, 1))
    model = scaled_conv(rewriting, factors, channels, groups, bias, flipped)
    x = RNG.standard_normal((shape[0], 2 * groups, *shape[1:]), dtype=np.float32)
    assert rewriting.same(model, x) == {"Conv": 1}


@pytest.mark.parametrize("scale", [2.0, [2.0], [[[2.0]]]])
def test_one_factor_for_all_is_taken_in(rewriting, scale):
    x = RNG.random((1, 2, 3, 3), dtype=np.float32)
    assert rewriting.same(scaled_conv(rewriting, scale), x) == {"Conv": 1}


def test_the_layer_keeps_its_name(rewriting):
    model = scaled_conv(rewriting, 2.0)
    model.graph.node[0].name = "expand"
    assert rewrite(model)[0].graph.node[0].name == "expand"


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": np.ones(4)},
        {"scale": np.ones((4, 1))},
        {"scale": np.ones((3, 1, 1, 1))},
        {"scale": 2.0, "extra": "z"},
    ],
    ids=["per column", "per row", "per sample", "read elsewhere"],
)
def test_look_alikes_stay_untouched(rewriting, changes):
    rewriting.untouched(scaled_conv(rewriting, **changes))


def test_a_computed_factor_stays(rewriting):
    rewriting.untouched(
        rewriting.model(
            """(float[n, 2, h, w] x, float[4, 1, 1] s) => (float[n, 4, h, w] y) {
                z = Conv(x, W)
                y = Mul(z, s)
            }""",
            {"W": RNG.random((4, 2, 1, 1), dtype=np.float32)},
        )
    )
