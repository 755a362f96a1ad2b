"""Bands are found by wavelength, and numbers of another kind are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesr.cube.matching import Rescale, check_numbers, match_bands
from edgesr.errors import DataError, EdgesrWarning

CENTRES = [500.0, 510.0, 520.0, 530.0]


def match(available, widths=None, wanted=CENTRES, index=(0, 1, 2, 3)):
    known = None if available is None else np.asarray(available, float)
    count = 9 if known is None else known.size
    return match_bands(wanted, widths, index, known, count, "cube")


@pytest.mark.parametrize("seed", range(20))
def test_bands_are_found_in_any_order_among_any_others(seed):
    rng = np.random.default_rng(seed)
    others = rng.uniform(600, 2400, rng.integers(0, 9))
    moved = np.asarray(CENTRES) + rng.uniform(-4.9, 4.9, 4)
    order = rng.permutation(4 + others.size)
    available = np.concatenate([moved, others])[order]
    assert (available[match(available)] == moved).all()


def test_five_bands_in_front_shift_nothing():
    assert match([450, 460, 470, 480, 490, *CENTRES, 540]) == [5, 6, 7, 8]


def test_a_band_is_the_same_within_half_its_width():
    assert match([500, 510, 520, 538], widths=[8, 8, 8, 16]) == [0, 1, 2, 3]
    with pytest.raises(DataError, match=r"1 of the network's 4 bands are missing: 530 nm"):
        match([500, 510, 520, 538], widths=[8, 8, 8, 15])


def test_of_two_bands_at_one_wavelength_the_place_in_training_decides():
    assert match([500, 510, 510, 520, 530], index=(0, 2, 3, 4)) == [0, 2, 3, 4]


def test_a_coarser_sensor_is_told():
    with pytest.warns(EdgesrWarning, match="2 of the network's 4 bands repeat the one beside"):
        assert match([505, 525]) == [0, 0, 1, 1]
    assert match([500, 510, 520], wanted=[500, 500, 510, 520], index=(0, 1, 2, 3)) == [0, 0, 1, 2]


def test_another_part_of_the_spectrum_is_refused_with_the_list():
    with pytest.raises(DataError, match=r"missing: 500, 510, 520, 530 nm; .* 1500 to 1690 nm"):
        match(np.linspace(1500, 1690, 20))


def test_without_wavelengths_on_either_side_the_place_decides():
    assert match(None, index=(2, 4, 5, 8)) == [2, 4, 5, 8]
    assert match([400, 500, 600, 700], wanted=None) == [0, 1, 2, 3]
    with pytest.raises(DataError, match="takes bands 2,4-5,9, the cube has 9 bands"):
        match(None, index=(2, 4, 5, 9))


LOW, HIGH, USUAL = np.full(3, 2000.0), np.full(3, 7000.0), np.full(3, 4000.0)


def numbers(pixels):
    return check_numbers(np.asarray(pixels), LOW, HIGH, USUAL, "cube")


def pixels_of(low, high, seed=0):
    return np.random.default_rng(seed).uniform(low, high, (500, 3))


def test_numbers_as_in_training_pass_without_a_word():
    assert numbers(pixels_of(2100, 6900)) is None


@pytest.mark.parametrize(
    ("factor", "option", "told"),
    [(1e-4, "10000", "10000 times too small"), (100, "0.01", "100 times too large"),
     (1 / 33, "33", "33 times too small")],
)  # fmt: skip
def test_other_units_are_refused_with_the_likely_factor(factor, option, told):
    with pytest.raises(DataError, match=rf"{told}: pass --rescale {option}\b"):
        numbers(np.full((50, 3), 4000 * factor))


def test_a_factor_that_cannot_be_known_is_asked_for():
    with pytest.raises(DataError, match="pass --rescale FACTOR,OFFSET"):
        numbers(pixels_of(-400, -300))


def test_bright_pixels_of_a_right_cube_are_told_with_their_share():
    pixels = pixels_of(2100, 6900)
    pixels[:25, 1] = 7906
    assert "1.7% of its values" in numbers(pixels)
    assert "most in band 1; they are clipped" in numbers(pixels)


def test_gains_on_both_sides_turn_one_number_into_the_other():
    """Reflectance 0.35 is 3500 with a gain of 1e-4, and 4500 with an offset of -0.1."""
    rescale = Rescale.between(1.0, None, 1e-4, None)
    assert rescale.factor * 0.35 + rescale.offset == pytest.approx(3500)
    rescale = Rescale.between(None, None, 1e-4, None)
    assert rescale is None
    assert Rescale.between(1e-4, None, None, None) is None
    rescale = Rescale.between(None, -1000.0, 1.0, None)  # an offset alone
    assert (rescale.factor, rescale.offset) == (1, -1000)
    rescale = Rescale.between(np.full(3, 1e-4), np.zeros(3), 1e-4, -0.1)
    assert rescale.factor * 3500 + rescale.offset == pytest.approx(np.full(3, 4500))
    assert Rescale.between(1e-4, 0.0, np.full(3, 1e-4), None) is None


FINITE = st.floats(-1e3, 1e3)
GAINS = st.floats(1e-5, 1e3)


@given(number=FINITE, gain=GAINS, offset=FINITE, to_gain=GAINS, to_offset=FINITE)
def test_a_number_means_the_same_on_both_sides(number, gain, offset, to_gain, to_offset):
    rescale = Rescale.between(gain, offset, to_gain, to_offset)
    there = number if rescale is None else rescale.factor * number + rescale.offset
    largest = max(abs(gain * number), abs(offset), abs(to_offset), 1e-5)
    assert abs(gain * number + offset - (to_gain * there + to_offset)) < 1e-5 * largest + 1e-5
    if rescale is not None:
        scale = max(abs(number), abs(to_gain * there), abs(to_offset), abs(offset)) / gain
        assert abs(float(rescale.inverse(np.asarray(there))) - number) <= 1e-9 * max(scale, 1)
