from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgesr.cube.normalise import Normalisation
from edgesr.errors import DataError, OptionError


def test_scene_mode_runs_from_zero_to_the_maximum() -> None:
    fitted = Normalisation.fit(np.array([[10, 200], [30, 400]], dtype=np.uint16), "scene")
    np.testing.assert_allclose(
        fitted.apply(np.array([[0, 400], [200, 100]])), [[0, 1], [0.5, 0.25]]
    )


def test_scene_mode_starts_at_a_negative_minimum() -> None:
    fitted = Normalisation.fit(np.array([[-50.0, 0.0], [0.0, 150.0]]), "scene")
    np.testing.assert_allclose(fitted.apply(np.array([[-50.0, 150.0]])), [[0, 1]])


def test_band_mode_takes_the_percentiles_of_each_band() -> None:
    ramp = np.arange(1001.0)
    fitted = Normalisation.fit(np.stack([ramp, 5 * ramp], axis=1), "band")
    np.testing.assert_allclose(fitted.lower, [1, 5])
    np.testing.assert_allclose(fitted.upper, [999, 4995])


@settings(deadline=None, max_examples=15)
@given(
    arrays(np.int16, (40, 3), elements=st.integers(-3000, 9000), unique=True),
    st.sampled_from(["scene", "band"]),
)
def test_invert_undoes_apply_inside_the_range(pixels: np.ndarray, mode: str) -> None:
    fitted = Normalisation.fit(pixels, mode)
    unit = fitted.apply(pixels)
    assert unit.dtype == np.float32
    assert unit.min() >= 0
    assert unit.max() <= 1
    inside = pixels.clip(fitted.lower, fitted.upper)
    np.testing.assert_allclose(fitted.invert(unit), inside, atol=2e-3)


def test_it_survives_json() -> None:
    fitted = Normalisation.fit(np.array([[1.0, 2.0], [3.0, 5.0]]), "band")
    again = Normalisation.from_dict(json.loads(json.dumps(fitted.to_dict())))
    np.testing.assert_array_equal(again.lower, fitted.lower)
    np.testing.assert_array_equal(again.upper, fitted.upper)
    assert again.mode == "band"


@pytest.mark.parametrize("mode", ["scene", "band"])
def test_a_constant_band_is_refused_by_its_index(mode: str) -> None:
    pixels = np.arange(40.0).reshape(10, 4)
    pixels[:, 2] = 5
    with pytest.raises(DataError, match="band 2 is constant"):
        Normalisation.fit(pixels, mode)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [(np.zeros((0, 3)), "training pixels"), (np.array([[1.0, np.nan], [2, 3]]), "NaN")],
)
def test_unusable_pixels_are_refused(pixels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Normalisation.fit(pixels, "band")


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(OptionError, match="scene, band"):
        Normalisation.fit(np.ones((2, 2)), "global")


def test_another_band_count_is_refused() -> None:
    fitted = Normalisation.fit(np.array([[1.0, 2.0], [3.0, 5.0]]), "band")
    with pytest.raises(DataError, match="data have 3 bands"):
        fitted.apply(np.zeros((4, 4, 3)))


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"mode": "band", "lower": [0], "upper": [0]},
        {"mode": "x", "lower": [0], "upper": [1]},
        {"mode": "band", "lower": [0, 1], "upper": [1]},
        {"mode": "band", "lower": ["a"], "upper": [1]},
    ],
)
def test_a_damaged_stored_form_is_refused(stored: dict) -> None:
    with pytest.raises(DataError, match="save the network again"):
        Normalisation.from_dict(stored)
