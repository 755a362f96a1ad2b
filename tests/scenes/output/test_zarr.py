"""Zarr 3, read by zarr and, where it is installed, by xarray."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from rasterio.crs import CRS

from edgesr.cube import read_cube
from edgesr.cube.control import GroundControl
from edgesr.errors import EdgesrWarning, OptionError
from edgesr.scenes.output import check_target

zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")


def test_the_cube_and_all_that_is_known_of_it(scene, tmp_path):
    path = tmp_path / "out.zarr"
    check_target(path, scene.meta)
    assert scene.write(path) == [path]
    assert list(tmp_path.iterdir()) == [path]
    group = zarr.open_group(path, mode="r")
    cube = group["cube"]
    np.testing.assert_array_equal(cube[...].transpose(1, 2, 0), scene.data)
    assert cube.metadata.zarr_format == 3
    assert cube.metadata.dimension_names == ("wavelength", "y", "x")
    assert cube.shards == (5, 16, 16)
    assert cube.chunks == (5, 8, 8)
    assert (cube.dtype, cube.fill_value) == (np.int16, -999)
    attributes = dict(cube.attrs)
    assert attributes["_FillValue"] == -999
    assert (attributes["scale_factor"], attributes["add_offset"]) == (1e-4, -0.1)
    assert attributes["band_names"] == list(scene.meta.band_names)
    assert attributes["grid_mapping"] == "spatial_ref"
    for named in (attributes, dict(group.attrs)):
        assert named["proj:code"] == "EPSG:32633"
        assert named["spatial:transform"] == list(scene.meta.transform)
        assert named["spatial:bbox"] == [500_000, 5_000_000 - 41 * 7.5, 500_000 + 70 * 7.5, 5e6]
        assert [one["name"] for one in named["zarr_conventions"]] == ["proj:", "spatial:"]
    mapping = dict(group["spatial_ref"].attrs)
    assert CRS.from_wkt(mapping["crs_wkt"]) == CRS.from_epsg(32633)
    assert [float(v) for v in mapping["GeoTransform"].split()] == [5e5, 7.5, 0, 5e6, 0, -7.5]
    np.testing.assert_allclose(group["x"][:3], [500_003.75, 500_011.25, 500_018.75], rtol=1e-12)
    np.testing.assert_allclose(group["y"][:2], [4_999_996.25, 4_999_988.75], rtol=1e-12)
    np.testing.assert_array_equal(group["wavelength"][...], scene.meta.wavelengths)
    assert group["wavelength"].attrs["units"] == "nm"
    np.testing.assert_array_equal(group["fwhm"][...], scene.meta.fwhm)
    np.testing.assert_array_equal(group["good_wavelengths"][...], [1, 1, 0, 1, 1])
    np.testing.assert_array_equal(group["interpolated"][...], [0, 0, 0, 0, 1])
    assert group.attrs["edgesr"] == {**scene.meta.tags, "scale": "4"}
    assert group.attrs["source"] == "scene.tif"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_bare_scenes_of_every_type(make_scene, tmp_path, dtype):
    scene = make_scene(33, 20, 43, dtype)  # chunks of 15 bands: the last ones are cut
    scene.data[:16, :16] = 0  # a block of nothing but the fill value
    scene.write(tmp_path / "out.zarr")
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    np.testing.assert_array_equal(group["cube"][...].transpose(1, 2, 0), scene.data)
    assert group["cube"].metadata.dimension_names == ("band", "y", "x")
    assert sorted(group.array_keys()) == ["cube", "spatial_ref"]
    assert len(list((tmp_path / "out.zarr/cube/c").rglob("*/*/*"))) == 6


def test_gains_that_differ_rotation_and_ground_control(scene, tmp_path):
    gains, points = np.linspace(1, 2, 5), (GroundControl(0.5, 2, 12.0, 45.0),)
    scene = scene.but(gain=gains, transform=(7.5, 1.0, 0.0, 1.0, -7.5, 0.0), gcps=points,
                      rpcs={"LINE_OFF": "1"})  # fmt: skip
    scene.write(tmp_path / "out.zarr")
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert "scale_factor" not in group["cube"].attrs
    assert group["cube"].attrs["add_offset"] == -0.1
    np.testing.assert_array_equal(group["gain"][...], gains)
    assert not {"x", "y", "offset"} & set(group.array_keys())
    assert group.attrs["ground_control_points"] == [
        {"row": 0.5, "col": 2, "x": 12.0, "y": 45.0, "z": 0.0}
    ]
    assert group.attrs["rpcs"] == {"LINE_OFF": "1"}
    cube = read_cube(tmp_path / "out.zarr")
    assert (cube.gcps, cube.rpcs) == (points, {"LINE_OFF": "1"})
    group = zarr.open_group(tmp_path / "out.zarr", mode="r+")
    group.attrs["ground_control_points"] = [{"row": "first"}]
    with pytest.warns(EdgesrWarning, match=r"out\.zarr: control points and RPCs left out"):
        assert read_cube(tmp_path / "out.zarr").gcps == ()


@pytest.mark.parametrize(("dtype", "nodata"), [("int16", -999), ("float32", -9999.0)])
def test_xarray_reads_physical_values(scene, make_scene, tmp_path, dtype, nodata):
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    if dtype == "float32":
        scene = make_scene(20, 30, 3, dtype, nodata=nodata)
        scene.data[3:5] = nodata
    scene.write(tmp_path / "out.zarr")
    opened = xarray.open_zarr(tmp_path / "out.zarr", consolidated=False, chunks=None)
    expected = np.where(scene.data == nodata, np.nan, scene.data.astype(np.float64))
    if dtype == "int16":
        expected = expected * 1e-4 - 0.1
        near = opened.cube.sel(wavelength=655, method="nearest")
        np.testing.assert_allclose(near.values, expected[:, :, 2], rtol=1e-6)
        assert opened.x.attrs["standard_name"] == "projection_x_coordinate"
    np.testing.assert_allclose(opened.cube.values.transpose(1, 2, 0), expected, rtol=1e-6)


def test_an_earlier_folder_is_replaced_as_a_whole(scene, make_scene, tmp_path, content):
    path, other = tmp_path / "out.zarr", tmp_path / "other.zarr"
    make_scene(60, 60, 5, "uint16").write(path)
    scene.write(path)
    scene.write(other)
    assert content(path) == content(other)
    assert sorted(tmp_path.iterdir()) == [other, path]


def test_without_zarr_it_is_refused_in_one_line(scene, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(OptionError, match=r"pip install .edgesr\[zarr\]"):
        check_target(tmp_path / "out.zarr", scene.meta)
