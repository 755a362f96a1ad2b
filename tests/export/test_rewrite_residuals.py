"""Bilinear and nearest enlargements that are added to a pixel shuffle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from edgesr_export.rewrite import rewrite
from hypothesis import given, settings
from hypothesis import strategies as st

LINEAR = 'mode="linear", coordinate_transformation_mode="half_pixel"'
NEAREST = 'mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"'
ROUNDED = 'mode="nearest", coordinate_transformation_mode="half_pixel"'
TIES_UP = f'{ROUNDED}, nearest_mode="round_prefer_ceil"'


def residual(rewriting, resize, rate=2, bands=3, scale=None, order="CRD", flipped=False):
    """y = DepthToSpace(a) + Resize(x)."""
    total = "enlarged, detail" if flipped else "detail, enlarged"
    return rewriting.model(
        f"""(float[n, {bands * rate**2}, h, w] a, float[n, {bands}, h, w] x)
            => (float[n, {bands}, hr, wr] y) {{
            detail = DepthToSpace <blocksize = {rate}, mode = "{order}"> (a)
            enlarged = Resize <{resize.replace("=", " = ")}> (x, , scales)
            y = Add({total})
        }}""",
        {"scales": np.array(scale or [1, 1, rate, rate], np.float32)},
    )


def inputs(rate, bands, shape, seed):
    batch, height, width = shape
    rng = np.random.default_rng(seed)
    return (
        rng.random((batch, bands * rate**2, height, width), dtype=np.float32),
        rng.random((batch, bands, height, width), dtype=np.float32),
    )


@settings(deadline=None, max_examples=20)
@given(
    resize=st.sampled_from([LINEAR, NEAREST, ROUNDED, TIES_UP]),
    rate=st.integers(2, 6),
    bands=st.integers(1, 4),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 7), st.integers(1, 7)),
    flipped=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_shape_gives_the_same_in_one_shuffle(
    rewriting, resize, rate, bands, shape, flipped, seed
):
    model = residual(rewriting, resize, rate, bands, flipped=flipped)
    found = rewriting.same(model, *inputs(rate, bands, shape, seed))
    assert found["DepthToSpace"] == 1
    assert found["Resize"] == 0


@pytest.mark.parametrize(("resize", "mode"), [(LINEAR, "bilinear"), (NEAREST, "nearest")])
def test_equal_to_torch(rewriting, resize, mode):
    a, x = inputs(4, 3, (2, 5, 6), 0)
    rewritten, _ = rewrite(residual(rewriting, resize, 4))
    corners = {"align_corners": False} if mode == "bilinear" else {}
    expected = F.pixel_shuffle(torch.from_numpy(a), 4) + F.interpolate(
        torch.from_numpy(x), scale_factor=4, mode=mode, **corners
    )
    np.testing.assert_allclose(rewriting.run(rewritten, a, x), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("resize", "changes"),
    [
        (f"{LINEAR}, antialias=1", {}),
        (LINEAR.replace("half_pixel", "align_corners"), {}),
        (LINEAR.replace("half_pixel", "asymmetric"), {}),
        (NEAREST.replace("floor", "ceil"), {}),
        (NEAREST.replace("floor", "round_prefer_floor"), {}),
        (f'{ROUNDED}, nearest_mode="floor"', {}),
        (LINEAR, {"order": "DCR"}),
    ],
    ids=["antialias", "corners", "asymmetric", "ceil", "rounded", "half floor", "other order"],
)
def test_look_alikes_stay_untouched(rewriting, resize, changes):
    rewriting.untouched(residual(rewriting, resize, **changes))


@pytest.mark.parametrize("resize", [LINEAR, NEAREST])
def test_a_resize_alone_is_the_faster_form_and_stays(rewriting, resize):
    rewriting.untouched(
        rewriting.model(
            f"""(float[n, 3, h, w] x) => (float[n, 3, hr, wr] y)
            {{ y = Resize <{resize.replace("=", " = ")}> (x, , scales) }}""",
            {"scales": np.array([1, 1, 2, 2], np.float32)},
        )
    )
