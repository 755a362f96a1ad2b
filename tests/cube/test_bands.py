from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.cube.bands import clean_bands, format_bands, missing_bands, parse_bands
from edgesr.cube.cube import Cube
from edgesr.errors import OptionError


def test_ranges_include_both_ends() -> None:
    assert parse_bands("4-6, 9", 10) == (4, 5, 6, 9)


@settings(deadline=None, max_examples=30)
@given(st.sets(st.integers(0, 63), min_size=1))
def test_format_is_read_back(indices: set[int]) -> None:
    assert parse_bands(format_bands(sorted(indices)), 64) == tuple(sorted(indices))


@pytest.mark.parametrize("text", ["", "a", "3-", "5-3", "-1", "1;2", "60-70", "1,,2"])
def test_unreadable_ranges_are_refused(text: str) -> None:
    with pytest.raises(OptionError) as refusal:
        parse_bands(text, 64)
    assert "\n" not in str(refusal.value)


def test_clean_drops_noise_and_constants_and_what_only_touches_noise() -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(1000, 100, 4000)
    pixels = np.stack([signal + rng.normal(0, 5, 4000) for _ in range(9)], axis=1)
    pixels[:, 0] = 7.0
    pixels[:, 4] = rng.normal(1000, 100, 4000)
    truth = np.corrcoef(pixels[:, 1:].T)
    neighbours = np.diag(truth, 1)
    assert (neighbours < 0.9).sum() == 2
    assert np.flatnonzero(clean_bands(pixels)).tolist() == [1, 2, 6, 7, 8]


def test_clean_of_one_varying_band_keeps_it() -> None:
    pixels = np.stack([np.arange(10), np.full(10, 3)], axis=1)
    assert clean_bands(pixels).tolist() == [True, False]


def test_missing_bands_are_those_without_any_value() -> None:
    data = np.random.default_rng(0).random((200, 30, 4)).astype(np.float32)
    data[:, :, 2] = -32768
    data[:50] = -32768
    assert missing_bands(Cube(data, nodata=-32768.0)).tolist() == [False, False, True, False]
    data[:] = np.nan
    assert not missing_bands(Cube(data)).any()
