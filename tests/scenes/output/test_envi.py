"""ENVI, read by edgesr's own reader and by GDAL."""

from __future__ import annotations

import re

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS

from edgesr.cube import read_cube
from edgesr.cube.control import GroundControl
from edgesr.errors import DataError
from edgesr.scenes.output import check_target

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def names_of(file: rasterio.DatasetReader) -> list[str]:
    """GDAL adds the wavelength to the name of a band."""
    return [text.split(" (")[0] for text in file.descriptions]


@pytest.mark.parametrize("name", ["out.img", "out.dat", "out.hdr"])
def test_the_image_and_all_that_is_known_of_it(scene, tmp_path, name):
    meta = scene.but(offset=None).meta
    check_target(tmp_path / name, meta)
    pixels, header = scene.but(offset=None).write(tmp_path / name)
    assert {pixels, header} == set(tmp_path.iterdir())
    for path in (pixels, header):
        cube = read_cube(path)
        np.testing.assert_array_equal(cube.data, scene.data)
        assert cube.data.dtype == np.int16
        for field in ("wavelengths", "fwhm", "bad_bands"):
            np.testing.assert_array_equal(getattr(cube, field), getattr(meta, field))
        assert (cube.nodata, cube.gain, cube.transform) == (-999, 1e-4, meta.transform)
        assert CRS.from_wkt(cube.crs).to_epsg(confidence_threshold=20) == 32633
    text = header.read_text()
    assert "interleave = bil" in text
    assert re.search(
        r"^description = \{source: scene.tif, edgesr_version: 1.0, .*scale: 4\}$", text, re.M
    )
    with rasterio.open(pixels) as file:
        assert names_of(file) == list(meta.band_names)
        assert file.tags(ns="ENVI")["interpolated"] == "{0, 0, 0, 0, 1}"


def test_offsets_are_kept(scene, tmp_path):
    scene.write(tmp_path / "out.img")
    with rasterio.open(tmp_path / "out.img") as file:
        assert (file.scales, file.offsets) == ((1e-4,) * 5, (-0.1,) * 5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int32", "float32", "float64"])
def test_bare_scenes_of_every_type(make_scene, tmp_path, dtype):
    scene = make_scene(33, 20, 3, dtype)
    scene.write(tmp_path / "out.img")
    cube = read_cube(tmp_path / "out.img")
    np.testing.assert_array_equal(cube.data, scene.data)
    assert (cube.data.dtype, cube.crs, cube.transform, cube.wavelengths) == (
        dtype,
        None,
        None,
        None,
    )


def test_a_rotation_is_kept(scene, tmp_path):
    turned = (6.0, 4.5, 5e5, 4.5, -6.0, 5e6)
    scene = scene.but(transform=turned)
    check_target(tmp_path / "out.img", scene.meta)
    scene.write(tmp_path / "out.img")
    np.testing.assert_allclose(read_cube(tmp_path / "out.img").transform, turned, rtol=1e-9)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"transform": (7.5, 2.0, 5e5, 0.5, -7.5, 5e6)}, "a sheared transform"),
        ({"transform": None, "gcps": (GroundControl(0, 0, 12, 45),)}, "ground control points"),
    ],
)
def test_what_a_header_cannot_hold_is_refused_before_any_work(scene, tmp_path, changes, said):
    with pytest.raises(DataError, match=f"ENVI cannot hold {said}; choose .tif or .zarr"):
        check_target(tmp_path / "out.img", scene.but(**changes).meta)
    assert list(tmp_path.iterdir()) == []


def test_names_that_would_end_a_list_do_not(scene, tmp_path):
    names = ("a, b", "{c}", "d\ne", "f = g", "h")
    scene.but(band_names=names, source="x}\nlines = 1\n{").write(tmp_path / "out.img")
    with rasterio.open(tmp_path / "out.img") as file:
        assert file.shape == (41, 70)
        assert names_of(file) == ["a b", "c", "d e", "f = g", "h"]
    np.testing.assert_array_equal(read_cube(tmp_path / "out.img").data, scene.data)
