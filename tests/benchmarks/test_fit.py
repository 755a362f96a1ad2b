from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fit import growth


@given(st.floats(-2, 3), st.floats(0.1, 100))
def test_a_power_law_gives_its_exponent(exponent, factor):
    x = [1.0, 2.0, 8.0, 16.0]
    found = growth(x, [factor * one**exponent for one in x])
    assert found.exponent == pytest.approx(exponent, abs=1e-6)
    assert found.last == pytest.approx(exponent, abs=1e-6)


def test_the_end_shows_what_a_fixed_part_hides():
    x = [1, 10, 100, 1000, 10_000]
    found = growth(x, [1000 + one for one in x])
    assert found.exponent < 0.3
    assert 0.7 < found.last < 1
    assert not found.superlinear


def test_a_quadratic_part_is_superlinear():
    x = [256, 1024, 4096, 9216]
    assert growth(x, [one + one**2 / 2000 for one in x]).superlinear
    assert not growth(x, [3 * one for one in x]).superlinear


def test_order_does_not_matter():
    assert growth([4, 1, 2], [16, 1, 4]) == growth([1, 2, 4], [1, 4, 16])


@pytest.mark.parametrize(
    ("x", "y"), [([1], [1]), ([1, 1], [1, 2]), ([1, 2], [1]), ([0, 1], [1, 1]), ([1, 2], [1, -1])]
)
def test_what_cannot_be_fitted_is_refused(x, y):
    with pytest.raises(ValueError, match=r"fit|positive"):
        growth(x, y)
