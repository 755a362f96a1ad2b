from __future__ import annotations

import json
import math

import numpy as np
import pytest

from edgesr.cube.cube import Cube, invalid_values, without_masked
from edgesr.cube.info import describe_cube, render_info
from edgesr.cube.nodata import held_nodata, nodata_in_json
from edgesr.cube.scene import make_scene

LOWEST = -1.797e308


@pytest.mark.parametrize(
    ("nodata", "dtype", "held"),
    [
        (-9999.0, "int16", -9999.0),
        (-9999.0, "uint16", None),
        (3.5, "int16", None),
        (math.nan, "uint8", None),
        (math.inf, "int32", None),
        (LOWEST, "int64", None),
        (2.0**63, "int64", None),
        (2.0**63, "uint64", 2.0**63),
        (255.0, "uint8", 255.0),
        (256.0, "uint8", None),
        (0.1, "float32", float(np.float32(0.1))),
        (0.1, ">f4", float(np.float32(0.1))),
        (0.1, "float64", 0.1),
        (LOWEST, "float64", LOWEST),
        (LOWEST, "float32", math.nan),
        (1e6, "float16", math.nan),
        (-math.inf, "float32", -math.inf),
        (None, "float32", None),
    ],
)
def test_nodata_as_a_type_holds_it(nodata, dtype, held) -> None:
    np.testing.assert_equal(held_nodata(nodata, np.dtype(dtype)), held)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("nodata", [math.nan, math.inf, LOWEST, 1e300, -9999.0, 3.5, 2.0**64])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint64"])
def test_a_nodata_that_integers_cannot_have_matches_nothing(nodata, dtype) -> None:
    values = np.array([[[0, 1, 3, 240, np.iinfo(dtype).max]]], dtype)
    assert not invalid_values(values, nodata).any()
    assert (without_masked(values, np.array([[True]]), nodata) == values).all()


def test_large_integers_are_compared_exactly() -> None:
    values = np.array([2**53, 2**53 + 1])
    assert invalid_values(values, float(2**53)).tolist() == [True, False]


@pytest.mark.filterwarnings("error")
def test_floats_match_the_rounded_nodata() -> None:
    values = np.array([0.1, 0.2, np.nan, -np.inf], np.float32)
    assert invalid_values(values, 0.1).tolist() == [True, False, True, True]
    assert invalid_values(values, LOWEST).tolist() == [False, False, True, True]
    assert invalid_values(np.array([LOWEST, 0.1]), LOWEST).tolist() == [True, False]


@pytest.mark.parametrize("nodata", [math.nan, math.inf, -math.inf, LOWEST, -9999.0, None])
def test_what_is_said_of_a_cube_is_json_and_loses_nothing(make_cube, nodata) -> None:
    cube = make_cube(dtype="float32", nodata=nodata)
    for said in (make_scene(cube, bands="all").describe(), describe_cube(cube)):
        again = json.loads(json.dumps(said, allow_nan=False))["nodata"]
        np.testing.assert_equal(None if again is None else float(again), nodata)
    assert nodata_in_json(nodata) == said["nodata"]
    shown = "no number defined" if nodata is None else f"{nodata:g}"
    assert f"{shown}, 0.00% of the pixels" in render_info(describe_cube(cube))


def test_a_crs_without_a_quoted_name_is_shown_as_it_is() -> None:
    cube = Cube(np.ones((2, 2, 2)), crs="EPSG:32633", transform=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    assert "EPSG:32633, pixel 1 x 1" in render_info(describe_cube(cube))
