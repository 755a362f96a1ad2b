from __future__ import annotations

import numpy as np
import pytest
from edgesr_export.int8.layers import Layer
from edgesr_export.int8.scheme import Range
from edgesr_export.targets import find_target
from hypothesis import given
from hypothesis import strategies as st

CPU, OPENVINO, TENSORRT = (find_target(name).scheme for name in ("cpu", "openvino", "tensorrt"))
EDGES = st.floats(0, 1e6, allow_subnormal=False, width=32)


@pytest.mark.parametrize("scheme", [CPU, OPENVINO, TENSORRT], ids=["cpu", "openvino", "tensorrt"])
@given(low=EDGES, high=EDGES)
def test_levels_span_the_range_and_hold_zero(scheme, low, high):
    scale, zero = scheme.affine(Range(-low, high))
    levels = np.iinfo(zero.dtype)
    assert zero.dtype == scheme.element
    assert scale.dtype == np.float32
    assert scale > 0
    reach = [(edge - float(zero)) * float(scale) for edge in (levels.min, levels.max)]
    slack = float(scale) * 0.5001  # the zero point is rounded
    assert reach[0] - slack <= -low
    assert reach[1] + slack >= high
    if scheme is TENSORRT:
        assert zero == 0


def test_a_range_of_nncf_comes_back_exactly():
    """uint8 levels of scale 1/64 and zero point 17, as asymmetric calibration leaves them."""
    scale, zero = CPU.affine(Range(-17 / 64, (255 - 17) / 64))
    assert (float(scale), int(zero)) == (1 / 64, 17)


def test_positive_activations_lose_half_the_levels_in_tensorrt():
    scale, _ = TENSORRT.affine(Range(0.0, 1.27))
    assert float(scale) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("shape", "groups", "fits"),
    [((32, 8, 1, 1), 4, True), ((32, 6, 1, 1), 4, False), ((12, 1, 5, 5), 12, True)],
)
def test_groups_of_odd_width_stay_float_in_tensorrt(shape, groups, fits):
    layer = Layer("conv", "Conv", shape, groups)
    assert bool(TENSORRT.unfit(layer)) != fits
    assert not CPU.unfit(layer)
