from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from edgesr.cube.control import GroundControl
from edgesr.cube.cube import Cube
from edgesr.cube.info import describe_cube, render_info


def test_a_full_cube(full_cube: Cube) -> None:
    facts = json.loads(json.dumps(describe_cube(full_cube), allow_nan=False))
    valid = full_cube.data[:, :, [0, 2, 3]][~full_cube.mask]
    assert facts["range"] == [valid.min(), valid.max()]
    assert facts["nodata_share"] == 1 / 600
    assert facts["bad_bands"] == "1,4"
    assert facts["shape"] == {"height": 20, "width": 30, "bands": 5}
    text = render_info(facts)
    assert "400.5 to 2100 nm, FWHM 5.5 to 10 nm" in text
    assert "WGS 84 / UTM zone 33N, pixel 30 x 30, corner (366015, 5809965)" in text
    assert "-32768, 0.17% of the pixels" in text


def test_a_bare_cube(make_cube) -> None:
    cube = make_cube()
    cube.data[:, :, 4] = 9
    text = render_info(describe_cube(cube))
    assert "wavelengths   unknown" in text
    assert "georeference  none" in text
    assert "assumed" not in text
    assert "constant      4" in text
    assert "looked at" not in text


def test_what_places_an_image_without_an_affine(make_cube) -> None:
    points = (GroundControl(0, 0, 5e5, 4e6), GroundControl(9, 9, 6e5, 3e6))
    cube = make_cube(crs="EPSG:32633", gcps=points, rpcs={"LINE_OFF": "1"})
    text = render_info(describe_cube(cube))
    assert "georeference  2 control points in EPSG:32633, RPCs" in text


def test_all_nodata_is_described_not_refused() -> None:
    facts = describe_cube(Cube(np.full((4, 5, 3), np.nan)))
    assert facts["range"] is None
    assert facts["nodata_share"] == 1
    assert "no valid value" in render_info(facts)


def test_a_huge_cube_is_looked_at_in_part(monkeypatch, make_cube) -> None:
    cube = make_cube(96, 96, 6, mask=np.zeros((96, 96), dtype=bool))
    monkeypatch.setattr("edgesr.cube.info._LOOKED_AT", cube.data.nbytes // 3)
    facts = describe_cube(replace(cube))
    assert facts["pixels_looked_at"] == 32 * 96
    assert "3072 of 9216 pixels" in render_info(facts)
