from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

RNG = np.random.default_rng(0)


def normalised_conv(rewriting, channels=4, groups=1, kernel=3, bias=True, extra="", statistics=""):
    """y = BatchNormalization(Conv(x)), x with 2 channels a group."""
    depth = 2 * groups
    constants = {
        "W": RNG.standard_normal((channels * groups, 2, kernel, kernel), dtype=np.float32),
        "g": RNG.random(channels * groups, dtype=np.float32) + 0.5,
        "b": RNG.standard_normal(channels * groups, dtype=np.float32),
        "m": RNG.standard_normal(channels * groups, dtype=np.float32),
        "v": RNG.random(channels * groups, dtype=np.float32) + 0.1,
    }
    if bias:
        constants["c"] = RNG.standard_normal(channels * groups, dtype=np.float32)
    output = f"float[n, {channels * groups}, h2, w2]"
    return rewriting.model(
        f"""(float[n, {depth}, h, w] x) => ({output} y{f", {output} {extra}" if extra else ""}) {{
            z = Conv <group = {groups}> (x, W{", c" if bias else ""})
            {statistics}
            y = BatchNormalization <epsilon = 0.001> (z, {"gg" if statistics else "g"}, b, m, v)
        }}""",
        constants,
    )


@settings(deadline=None, max_examples=20)
@given(
    channels=st.integers(1, 5),
    groups=st.integers(1, 3),
    kernel=st.integers(1, 3),
    bias=st.booleans(),
    shape=st.tuples(st.integers(1, 3), st.integers(3, 7), st.integers(3, 7)),
)
def test_any_convolution_takes_it_in(rewriting, channels, groups, kernel, bias, shape):
    model = normalised_conv(rewriting, channels, groups, kernel, bias)
    x = RNG.standard_normal((shape[0], 2 * groups, *shape[1:]), dtype=np.float32)
    assert rewriting.same(model, x, atol=1e-4) == {"Conv": 1}


@pytest.mark.parametrize(
    "changes",
    [{"extra": "z"}, {"statistics": "gg = Identity(g)\n"}],
    ids=["the convolution is read elsewhere", "computed statistics"],
)
def test_look_alikes_stay_untouched(rewriting, changes):
    rewriting.untouched(normalised_conv(rewriting, **changes))
