"""The STAC item: what the specification asks for, and where the scene is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.warp import transform

from edgesr.errors import DataError
from edgesr.scenes.output import check_target, written_files
from edgesr.scenes.output.stac import stac_item


def test_the_item_beside_the_scene(scene, tmp_path):
    path = tmp_path / "out.tif"
    check_target(path, scene.meta, stac=True)
    assert scene.write(path, stac=True) == written_files(path, stac=True)
    item = json.loads((tmp_path / "out.json").read_text())
    assert (item["type"], item["stac_version"], item["id"]) == ("Feature", "1.1.0", "out")
    assert item["properties"]["datetime"] == "2026-05-04T10:11:12Z"
    assert item["properties"]["proj:code"] == "EPSG:32633"
    assert item["properties"]["proj:shape"] == [41, 70]
    assert item["properties"]["proj:transform"] == list(scene.meta.transform)
    assert item["links"] == [{"rel": "derived_from", "href": "scene.tif"}]
    asset = item["assets"]["data"]
    assert (asset["href"], asset["data_type"], asset["nodata"]) == ("./out.tif", "int16", -999)
    assert asset["bands"][1] == {
        "name": "green", "eo:center_wavelength": 0.5505, "eo:full_width_half_max": 0.0105,
        "raster:scale": 1e-4, "raster:offset": -0.1,
    }  # fmt: skip
    ring = item["geometry"]["coordinates"][0]
    right, low = 500_000 + 70 * 7.5, 5_000_000 - 41 * 7.5
    xs, ys = [5e5, 5e5, right, right, 5e5], [5e6, low, low, 5e6, 5e6]
    expected = np.transpose(transform("EPSG:32633", "EPSG:4326", xs, ys))
    np.testing.assert_allclose(ring, expected, atol=1e-8)
    assert item["bbox"] == [
        min(p[0] for p in ring), min(p[1] for p in ring),
        max(p[0] for p in ring), max(p[1] for p in ring),
    ]  # fmt: skip


@pytest.mark.parametrize("down", [-7.5, 7.5])
def test_the_ring_turns_against_the_clock(scene, tmp_path, down):
    meta = scene.but(transform=(7.5, 0.0, 5e5, 0.0, down, 5e6)).meta
    x, y = np.transpose(stac_item(meta, tmp_path / "out.tif")["geometry"]["coordinates"][0])
    assert np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) > 0


def test_a_scene_across_180_degrees(scene, tmp_path):
    crs = CRS.from_epsg(32660).to_wkt()
    meta = scene.but(crs=crs, transform=(100.0, 0.0, 828_000.0, 0.0, -100.0, 1_000_000.0)).meta
    item = stac_item(meta, tmp_path / "out.tif")
    assert item["geometry"]["type"] == "MultiPolygon"
    west, south, east, north = item["bbox"]
    assert 179 < west < 180
    assert -180 < east < -179
    assert south < north


def test_a_crs_without_a_code_is_written_out(scene, tmp_path):
    crs = CRS.from_proj4("+proj=laea +lat_0=44 +lon_0=7 +datum=WGS84").to_wkt()
    transform = (7.5, 0.0, 0.0, 0.0, -7.5, 0.0)
    meta = scene.but(crs=crs, transform=transform, nodata=None).meta
    item = stac_item(meta, tmp_path / "out.tif")
    assert item["properties"]["proj:wkt2"].startswith("PROJCRS[")
    assert "proj:code" not in item["properties"]
    assert "nodata" not in item["assets"]["data"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"tags": {}}, "time of acquisition"), ({"crs": None}, "crs"), ({"transform": None}, "crs")],
)
def test_what_a_catalogue_needs_is_asked_for_before_any_work(scene, tmp_path, changes, said):
    with pytest.raises(DataError, match=rf"{said}.*leave --stac out"):
        check_target(tmp_path / "out.tif", scene.but(**changes).meta, stac=True)
    check_target(tmp_path / "out.tif", scene.but(**changes).meta)
