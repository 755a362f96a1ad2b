from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

from edgesr.errors import DataError
from edgesr.report.encode import encode
from edgesr.report.pictures import LEVELS, MAX_SAMPLES, MAX_SIDE, TRUTH, Pictures


def images(bands: int, height: int, width: int, *names: str) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.uniform(size=(bands, height, width)) for name in (TRUTH, *names)}


def test_what_was_saved_is_loaded(tmp_path):
    made = images(5, 6, 7, "bicubic", "paper's g=8")
    pictures = Pictures.of_window(made, [400, 500, 600, 700, 800.5], (3, 4))
    path = tmp_path / "pictures.npz"
    pictures.save(path)
    loaded = Pictures.load(path)
    assert list(loaded.images) == [TRUTH, "bicubic", "paper's g=8"]
    for name, image in made.items():
        np.testing.assert_allclose(loaded.images[name], image, atol=0.5 / LEVELS + 1e-7)
        np.testing.assert_array_equal(loaded.quantised(name), pictures.quantised(name))
    assert loaded.wavelengths == (400, 500, 600, 700, 800.5)
    assert (loaded.origin, loaded.region, loaded.is_part) == ((3, 4), (6, 7), False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["pictures.npz"]


def test_without_wavelengths(tmp_path):
    Pictures.of_window(images(2, 3, 3)).save(tmp_path / "p.npz")
    assert Pictures.load(tmp_path / "p.npz").wavelengths is None


def test_a_window_that_is_affordable_is_whole_however_long():
    pictures = Pictures.of_window(images(2, 4, 3000))
    assert pictures.shape == (2, 4, 3000)


@pytest.mark.parametrize(("bands", "side"), [(31, 400), (150, 300), (400, 260)])
def test_of_a_large_window_the_middle_is_shown(bands, side):
    """Each pixel holds its own row and column, so where the part came from can be read."""
    rows, columns = np.mgrid[0:side, 0 : side + 20]
    truth = np.broadcast_to(rows / 1000, (bands, side, side + 20))
    other = np.broadcast_to(columns / 1000, truth.shape)
    pictures = Pictures.of_window({TRUTH: truth, "student": other}, origin=(10, 20))
    _, height, width = pictures.shape
    assert pictures.is_part
    assert pictures.region == (side, side + 20)
    assert max(height, width) <= MAX_SIDE
    assert 0.9 * min(MAX_SAMPLES, bands * MAX_SIDE**2 * 2) < bands * height * width * 2
    assert bands * height * width * 2 <= MAX_SAMPLES
    assert pictures.images[TRUTH][0, 0, 0] * 1000 == pytest.approx(pictures.origin[0] - 10)
    assert pictures.images["student"][0, 0, 0] * 1000 == pytest.approx(pictures.origin[1] - 20)
    assert pictures.origin[0] - 10 == pytest.approx((side - height) / 2, abs=1)


def test_what_is_no_number_or_outside_becomes_a_valid_grey():
    truth = np.array([[[np.nan, -0.5, 1.5, 0.5]]])
    assert Pictures.of_window({TRUTH: truth}).quantised(TRUTH).tolist() == [[[0, 0, 1023, 512]]]


@pytest.mark.parametrize(
    ("made", "wavelengths"),
    [
        ({}, None),
        ({"student": np.zeros((1, 2, 2))}, None),
        ({TRUTH: np.zeros((2, 2))}, None),
        ({TRUTH: np.zeros((1, 2, 2)), "student": np.zeros((1, 2, 3))}, None),
        ({TRUTH: np.zeros((2, 2, 2))}, [500.0]),
    ],
)
def test_pictures_that_do_not_fit_are_refused(made, wavelengths):
    with pytest.raises(ValueError, match=r"pictures need|wavelengths for"):
        Pictures.of_window(made, wavelengths)


def test_files_that_hold_no_pictures_are_refused(tmp_path):
    path = tmp_path / "pictures.npz"
    with pytest.raises(DataError, match="No such file"):
        Pictures.load(path)
    path.write_text("text")
    with pytest.raises(DataError, match="does not hold"):
        Pictures.load(path)
    np.savez(path, names=np.array(["a"]))
    with pytest.raises(DataError, match="does not hold"):
        Pictures.load(path)
    np.savez(path, names=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="does not hold"):
        Pictures.load(path)


def test_the_page_can_undo_the_encoding():
    """Undone one number at a time, by the words of the encoder's documentation."""
    made = images(4, 3, 5, "student")
    made["student"][1] = 0
    made["student"][2] = 1  # the largest difference, and the largest negative one after it
    made["student"][3] = 0
    pictures = Pictures.of_window(made, [1, 2, 3, 4])
    packed = encode(pictures)
    assert (packed["bands"], packed["height"], packed["width"]) == (4, 3, 5)
    assert packed["names"] == [TRUTH, "student"]
    for name in made:
        planes = zlib.decompress(base64.b64decode(packed["images"][name]))
        numbers: list[int] = []
        for i in range(60):
            code = planes[i] + 256 * planes[60 + i]
            difference = code // 2 if code % 2 == 0 else -(code + 1) // 2
            numbers.append(difference + (numbers[i - 15] if i >= 15 else 0))
        np.testing.assert_array_equal(np.reshape(numbers, (4, 3, 5)), pictures.quantised(name))
