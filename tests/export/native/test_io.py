"""What native numbers mean, and which descriptions of them are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.native import NativeIO, native_reference

GOOD = {
    "lower": (100, 0),
    "upper": (300, 1000),
    "sensor_bands": 3,
    "selection": (2, 0),
    "input_dtype": "uint16",
    "output_dtype": "uint16",
    "nodata": None,
    "fill": (150, 500),
    "scale": 2,
}


def described(**changes):
    return NativeIO(**{**GOOD, **changes})


def test_the_reference_worked_by_hand():
    """Pixels of bands 2 and 0: within, below and above; the network halves and repeats."""
    image = np.array([[[[500, 0, 2000]], [[1, 1, 1]], [[201, 90, 301]]]], np.uint16)
    read = []

    def halved(x):
        read.append(x)
        return (x / 2).repeat(2, axis=2).repeat(2, axis=3)

    found = native_reference(image, described(), halved)
    np.testing.assert_allclose(read[0], [[[[0.505, 0, 1]], [[0.5, 0, 1]]]], rtol=1e-6)
    # 100 + 200 x / 2 = 150.5 and 200, half to even; 1000 x / 2
    assert found.dtype == np.uint16
    assert found[0, :, 0].tolist() == [[150, 150, 100, 100, 200, 200], [250, 250, 0, 0, 500, 500]]
    np.testing.assert_array_equal(found[:, :, 0], found[:, :, 1])


def test_the_reference_rounds_half_to_even_and_saturates():
    image = np.zeros((1, 1, 1, 5), np.int16)
    answers = np.array([[[[0.5, 1.5, -2.5, 9.0, -9.0]]]], np.float32)
    values = {"lower": (0,), "upper": (1,), "fill": None, "sensor_bands": 1, "selection": None}
    kind = {"input_dtype": "int16", "output_dtype": "int16", "scale": 1}
    io = described(**values, **kind)
    assert native_reference(image, io, lambda x: answers).ravel().tolist() == [0, 2, -2, 9, -9]
    wide = native_reference(image, io, lambda x: answers * 1e6)
    assert wide.ravel().tolist()[2:] == [-32768, 32767, -32768]
    narrow = native_reference(
        image, described(**values, **{**kind, "output_dtype": "uint8"}), lambda x: answers * 100
    )
    assert narrow.ravel().tolist() == [50, 150, 0, 255, 0]


@pytest.mark.parametrize(
    ("kind", "given", "empty"),
    [
        ({"nodata": 7}, 7, 7),
        ({"nodata": 7, "output_dtype": "float32"}, 7, 7.0),
        ({"input_dtype": "float32"}, np.nan, 0),
        ({"input_dtype": "float32"}, -np.inf, 0),
        ({"input_dtype": "float32", "output_dtype": "float32"}, np.nan, math.nan),
        (
            {"input_dtype": "float32", "output_dtype": "float32", "nodata": math.nan},
            np.inf,
            math.nan,
        ),
        ({"input_dtype": "float32", "output_dtype": "float32", "nodata": -1}, np.nan, -1.0),
    ],
)
def test_nodata_in_one_band_is_nodata_in_all(kind, given, empty):
    image = np.full((1, 3, 1, 2), 200).astype(kind.get("input_dtype", "uint16"))
    image[0, 0, 0, 1] = given
    read = []

    def repeated(x):
        read.append(x)
        return x.repeat(2, axis=2).repeat(2, axis=3)

    found = native_reference(image, described(**kind), repeated)
    np.testing.assert_allclose(read[0][0, :, 0, 1], [0.25, 0.5])
    np.testing.assert_array_equal(found[0, :, :, 2:], np.full((2, 2, 2), empty))
    assert np.isfinite(found[0, :, :, :2]).all()
    assert (found[0, :, :, :2] == 200).all()


def test_nodata_in_a_band_that_is_not_read_is_nothing():
    image = np.full((1, 3, 1, 1), 200, np.uint16)
    image[0, 1] = 7
    found = native_reference(image, described(nodata=7, scale=1), lambda x: x)
    assert found.ravel().tolist() == [200, 200]


def test_a_description_survives_as_text():
    for io in (described(), described(input_dtype="float32", output_dtype="float32", nodata=-1.5)):
        assert NativeIO.from_json(io.to_json()) == io
    odd = described(input_dtype="float32", output_dtype="float32", nodata=math.nan)
    assert math.isnan(NativeIO.from_json(odd.to_json()).nodata)
    with pytest.raises(ExportError, match="description of native numbers cannot be read"):
        NativeIO.from_json("{}")


def test_arrays_are_kept_as_tuples():
    io = described(lower=np.array([100, 0]), selection=np.array([2, 0]))
    assert io == described()
    assert hash(io) == hash(described())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"upper": (300,)}, "upper has 1 entries and lower has 2"),
        ({"fill": (1, 2, 3)}, "fill has 3 entries"),
        ({"selection": (2,)}, "selection has 1 entries"),
        ({"lower": (300, 0)}, "band 0 of the network reaches from 300 to 300; lower must be below"),
        ({"upper": (300, math.inf)}, "band 1 of the network reaches from 0 to inf"),
        ({"lower": (math.nan, 0)}, "band 0 of the network reaches from nan"),
        ({"lower": (), "upper": (), "fill": (), "selection": ()}, "lower is empty"),
        ({"lower": [[1, 2]]}, "lower is one float for each band"),
        ({"lower": ("a", "b")}, "lower is one float for each band"),
        ({"selection": (2, 3)}, "selection names band 3; the image has bands 0 to 2"),
        ({"selection": (2, -1)}, "selection names band -1"),
        ({"selection": (0.5, 1.5)}, "selection is one int for each band"),
        ({"selection": None}, "the image has 3 bands and the network 2; give the selection"),
        ({"input_dtype": "uint32"}, "input_dtype is one of uint8, uint16, int16, float32, got"),
        ({"output_dtype": "float16"}, "output_dtype is one of"),
        ({"nodata": -9999}, "nodata -9999 is no number of input_dtype uint16"),
        ({"nodata": 0.5}, "nodata 0.5 is no number of input_dtype uint16"),
        ({"nodata": math.nan}, "nodata nan is no number of input_dtype uint16"),
        ({"nodata": 65535, "output_dtype": "int16"}, "is no number of output_dtype int16"),
        (
            {"nodata": 1e39, "input_dtype": "float32", "output_dtype": "float32"},
            r"nodata 1e\+39 is no number of input_dtype float32",
        ),
        ({"nodata": 7, "fill": None}, "nothing fills them"),
        ({"input_dtype": "float32", "fill": None}, "nothing fills them"),
        ({"nodata": 7, "fill": (1, math.nan)}, "fill holds values that are not finite"),
        ({"scale": 0}, "scale is a whole number from 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(change, message):
    with pytest.raises(ExportError, match=message) as caught:
        described(**change)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "image", [np.zeros((1, 3, 2, 2)), np.zeros((1, 2, 2, 2), np.uint16), np.zeros(3, np.uint16)]
)
def test_other_images_are_refused(image):
    with pytest.raises(ExportError, match=r"uint16 \[N, 3, h, w\] is needed"):
        native_reference(image, described(), lambda x: x)
