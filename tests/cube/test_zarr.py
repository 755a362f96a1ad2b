"""Zarr of both versions, whole, by windows, and with what its conventions tell."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from edgesr.cube import Window, open_cube, read_cube
from edgesr.cube.parts import cube_files
from edgesr.errors import DataError

zarr = pytest.importorskip("zarr")

DATA = np.random.default_rng(0).integers(1, 4000, (7, 9, 5)).astype(np.int16)
CENTRES = np.array([400.5, 500.0, 650.25, 800.0, 2100.0])
WKT = 'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],' \
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]'  # fmt: skip


def store(path: Path, version: int, data: np.ndarray = DATA, **more: object) -> object:
    """Bands first, as scenes are written; what names the axes depends on the version."""
    dims = ("wavelength", "y", "x")
    group = zarr.create_group(path, zarr_format=version)

    def create(name: str, values: np.ndarray, names: tuple[str, ...], **options: object):
        named = {"dimension_names": names} if version == 3 else {}
        array = group.create_array(
            name, shape=values.shape, dtype=values.dtype, **named,
            **{"chunks": values.shape, **options},
        )  # fmt: skip
        array[...] = values
        if version == 2:
            array.attrs["_ARRAY_DIMENSIONS"] = list(names)
        return array

    image = create("cube", data.transpose(2, 0, 1), dims, **{"chunks": (2, 4, 4), **more})
    image.attrs["grid_mapping"] = "spatial_ref"
    create("wavelength", CENTRES, dims[:1]).attrs["units"] = "nm"
    create("fwhm", np.arange(5.0, 10), dims[:1])
    create("good_wavelengths", np.array([1, 1, 0, 1, 1], np.int8), dims[:1])
    create("y", 50 - 0.5 * np.arange(7.0), ("y",))
    create("x", 10 + 0.5 * np.arange(9.0), ("x",))
    create("spatial_ref", np.array(0), ()).attrs["crs_wkt"] = WKT
    return group


@pytest.mark.parametrize(
    ("version", "more"), [(2, {}), (3, {}), (3, {"shards": (4, 8, 8)})], ids=["2", "3", "shards"]
)
def test_both_versions_whole_and_by_windows(tmp_path, version, more):
    path = tmp_path / "a.zarr"
    group = store(path, version, **more)
    group["cube"].attrs["_FillValue"] = int(DATA[2, 3, 1])
    group["cube"].attrs["scale_factor"] = 1e-4
    for spec in (path, f"{path}:cube", f"{path}:/cube"):
        cube = read_cube(spec)
        np.testing.assert_array_equal(cube.data, DATA)
        np.testing.assert_array_equal(cube.wavelengths, CENTRES)
        np.testing.assert_array_equal(cube.fwhm, np.arange(5.0, 10))
        assert cube.bad_bands.tolist() == [False, False, True, False, False]
        assert (cube.nodata, cube.gain) == (DATA[2, 3, 1], 1e-4)
        assert cube.transform == (0.5, 0, 9.75, 0, -0.5, 50.25)
        assert "WGS 84" in cube.crs
    with open_cube(path) as opened:
        assert not opened.axes_assumed
        assert opened.chunks == ((8, 8) if more else (4, 4))
        for bands in (None, [4, 0], [2]):
            expected = DATA[1:6, 2:9][:, :, slice(None) if bands is None else bands]
            np.testing.assert_array_equal(opened.read(Window(1, 2, 5, 7), bands), expected)
    assert path / "cube" / (".zarray" if version == 2 else "zarr.json") in cube_files(path)


def test_what_differs_between_bands(tmp_path):
    group = store(tmp_path / "a.zarr", 3)
    for name in ("gain", "offset"):
        group.create_array(name, shape=(5,), dtype="f8")[...] = np.arange(1.0, 6)
    group["cube"].attrs["band_names"] = list("abcde")
    cube = read_cube(tmp_path / "a.zarr")
    np.testing.assert_array_equal(cube.gain, np.arange(1.0, 6))
    np.testing.assert_array_equal(cube.offset, np.arange(1.0, 6))
    assert cube.band_names == tuple("abcde")


def test_nodata_as_each_version_says_it(tmp_path):
    data = DATA.astype(np.float32)
    group = store(tmp_path / "a.zarr", 3, data)
    group["cube"].attrs["_FillValue"] = base64.b64encode(struct.pack("<d", -9999.0)).decode()
    assert read_cube(tmp_path / "a.zarr").nodata == -9999
    store(tmp_path / "b.zarr", 2, data, fill_value=-9999.0)
    assert read_cube(tmp_path / "b.zarr").nodata == -9999
    store(tmp_path / "c.zarr", 2, data, fill_value=0)
    assert read_cube(tmp_path / "c.zarr").nodata is None


def test_the_place_as_geozarr_says_it(tmp_path):
    group = store(tmp_path / "a.zarr", 3)
    del group["x"], group["y"], group["spatial_ref"]
    group.attrs["spatial:transform"] = [30.0, 1.0, 5e5, 0.0, -30.0, 4e6]
    group.attrs["proj:code"] = "EPSG:32633"
    cube = read_cube(tmp_path / "a.zarr")
    assert cube.transform == (30, 1, 5e5, 0, -30, 4e6)
    assert "33N" in cube.crs


def test_a_bare_array_and_several_of_them(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=DATA)
    np.testing.assert_array_equal(read_cube(tmp_path / "a.zarr").data, DATA)
    group = store(tmp_path / "b.zarr", 3)
    group.create_array("other", data=DATA)
    with pytest.raises(DataError, match=r"several arrays .* name one, such as .*b\.zarr:/cube"):
        read_cube(tmp_path / "b.zarr")


def test_a_folder_that_is_no_store_and_a_damaged_one(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(DataError, match="is a folder; name the file"):
        read_cube(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "zarr.json").write_text("{")
    with pytest.raises(DataError, match=r"\A[^\n]*a.zarr: cannot be read as Zarr[^\n]*\Z"):
        read_cube(tmp_path / "a.zarr")


@pytest.mark.parametrize(
    ("field", "codec", "why"),
    [
        ("filters", [{"id": "base64"}], "/cube is packed by base64, which is not read"),
        ("filters", [{"id": "pickle", "protocol": 5}], "cannot be read as Zarr"),
        ("compressor", {"id": "pickle", "protocol": 5}, "cannot be read as Zarr"),
    ],
)
def test_codecs_for_more_than_numbers_are_refused(tmp_path, field, codec, why):
    path = tmp_path / "a.zarr"
    store(path, 2)
    about = json.loads((path / "cube" / ".zarray").read_text())
    about[field] = codec
    (path / "cube" / ".zarray").write_text(json.dumps(about))
    with pytest.raises(DataError, match=why):
        read_cube(path)
