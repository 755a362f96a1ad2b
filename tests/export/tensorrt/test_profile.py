from __future__ import annotations

import onnx
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.tensorrt.profile import (
    Range,
    check_shape,
    checked_profile,
    model_inputs,
    tile_profile,
)

IMAGE = {"x": (None, 32, None, None)}


def test_inputs_are_read_with_their_free_axes(write):
    path = write("y = Add(x, w)", inputs="float[n, 3, 8, w0] x, float[1] w")
    assert model_inputs(onnx.load(path)) == {"x": (None, 3, 8, None), "w": (1,)}


def test_tiles_fill_the_free_axes_and_leave_the_others():
    profile = tile_profile({"x": (None, 32, 48, None), "fixed": (1, 2)}, (8, 16, 64), (1, 2, 4))
    assert profile == {"x": Range((1, 32, 48, 8), (2, 32, 48, 16), (4, 32, 48, 64))}


def test_numbers_of_two_bytes_are_images_too():
    profile = tile_profile({"x": (None, 32, None, 48, 2)}, (8, 16, 64), (1, 2, 4))
    assert profile == {
        "x": Range((1, 32, 8, 48, 2), (2, 32, 16, 48, 2), (4, 32, 64, 48, 2)),
    }


@pytest.mark.parametrize("tile", [(16, 8, 64), (0, 8, 64), (8, 64), (8, 16, 8)])
def test_bounds_out_of_order_are_refused(tile):
    with pytest.raises(ExportError, match="tile sizes are least, tuned and largest"):
        tile_profile(IMAGE, tile)


@pytest.mark.parametrize("axes", [(None, 10), (None, None, 8, 8), (None, 4, 8, 8, None)])
def test_a_free_input_that_is_no_image_needs_a_profile(axes):
    with pytest.raises(ExportError, match=r"input x \[\?.*\] is no image"):
        checked_profile({"x": axes}, None)
    given = [tuple(axis or 4 for axis in axes)] * 3
    assert checked_profile({"x": axes}, {"x": given})["x"].most == given[2]


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({}, "lacks input x, whose size is free"),
        ({"x": [(1, 32, 8, 8)] * 2}, "needs three shapes"),
        ({"x": [(1, 31, 8, 8)] * 3}, "that fit it"),
        ({"x": [(1, 32, 8)] * 3}, "that fit it"),
        ({"x": [(1, 32, 8, 8), (1, 32, 4, 8), (1, 32, 8, 8)]}, "least, tuned and largest"),
        ({"x": [(1, 32, 0, 8)] * 3}, "least, tuned and largest"),
    ],
)
def test_a_profile_that_does_not_fit_is_one_clear_line(profile, message):
    with pytest.raises(ExportError, match=message) as caught:
        checked_profile(IMAGE, profile)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 32, 7, 8), (1, 32, 8, 65), (3, 32, 8, 8), (32, 8, 8)])
def test_a_tile_outside_the_profile_is_refused_with_what_is_served(shape):
    served = Range((1, 32, 8, 8), (1, 32, 16, 16), (2, 32, 64, 64))
    check_shape("x", (2, 32, 8, 64), served)
    with pytest.raises(ExportError, match=r"serves \[1, 32, 8, 8\] to \[2, 32, 64, 64\]; cut"):
        check_shape("x", shape, served)
