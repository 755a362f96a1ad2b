from __future__ import annotations

import json
import warnings
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.cube.cube import Cube
from edgesr.cube.readers import read_cube
from edgesr.cube.writers import write_cube
from edgesr.errors import DataError, EdgesrWarning


def assert_same(one: Cube, other: Cube, *left_out: str) -> None:
    for field in fields(Cube):
        if field.name in left_out:
            continue
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=field.name)
        elif field.name == "crs" and a is not None:
            assert rasterio.crs.CRS.from_wkt(a) == rasterio.crs.CRS.from_wkt(b)
        else:
            assert a == b, field.name


def test_npz_keeps_everything(full_cube: Cube, tmp_path: Path) -> None:
    write_cube(full_cube, tmp_path / "cube.npz")
    assert_same(read_cube(tmp_path / "cube.npz"), full_cube)


@pytest.mark.parametrize("suffix", [".tif", ".hdr", ".img"])
def test_rasters_keep_everything_but_the_name(full_cube: Cube, tmp_path: Path, suffix: str) -> None:
    write_cube(full_cube, tmp_path / f"cube{suffix}")
    assert_same(read_cube(tmp_path / f"cube{suffix}"), full_cube, "name", "source")


def test_the_envi_header_names_the_cube_and_no_temporary_file(full_cube, tmp_path: Path) -> None:
    write_cube(full_cube, tmp_path / "cube.hdr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cube.hdr", "cube.img"]
    header = (tmp_path / "cube.hdr").read_text()
    assert "made" in header
    assert str(tmp_path) not in header


@pytest.mark.parametrize("suffix", [".npz", ".tif", ".hdr"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_bare_cubes_come_back_bare(make_cube, tmp_path: Path, suffix: str, dtype: str) -> None:
    cube = make_cube(6, 7, 3, dtype="uint16")
    cube = replace(cube, data=(cube.data // 20).astype(dtype))
    write_cube(cube, tmp_path / f"made{suffix}")
    again = read_cube(tmp_path / f"made{suffix}")
    assert_same(again, cube, "source")
    assert again.data.dtype == dtype


@settings(deadline=None, max_examples=10)
@given(
    st.integers(1, 6),
    st.one_of(st.none(), st.floats(-1e4, 1e4)),
    st.booleans(),
    st.sampled_from([".npz", ".tif"]),
)
def test_any_metadata_survives(tmp_path_factory, bands, nodata, masked, suffix) -> None:
    data = np.random.default_rng(bands).random((5, 4, bands)).astype(np.float32)
    nodata = None if nodata is None else float(np.float32(nodata))
    mask = None
    if masked:
        mask = np.zeros((5, 4), dtype=bool)
        mask[2, 1] = True
    cube = Cube(data, "made", np.linspace(400.125, 900, bands), nodata=nodata, mask=mask)
    path = tmp_path_factory.mktemp("any") / f"made{suffix}"
    write_cube(cube, path)
    again = read_cube(path)
    np.testing.assert_allclose(again.wavelengths, cube.wavelengths, rtol=1e-9)
    assert again.nodata == nodata
    np.testing.assert_array_equal(again.invalid(), cube.invalid())


def test_masked_integers_without_a_nodata_number_keep_their_mask(make_cube, tmp_path) -> None:
    mask = np.zeros((6, 7), dtype=bool)
    mask[2, 3] = True
    cube = make_cube(6, 7, 3, mask=mask)
    write_cube(cube, tmp_path / "made.tif")
    np.testing.assert_array_equal(read_cube(tmp_path / "made.tif").mask, mask)
    assert [path.name for path in tmp_path.iterdir()] == ["made.tif"]
    with pytest.warns(EdgesrWarning, match="mask of made"):
        write_cube(cube, tmp_path / "made.hdr")


def test_gdal_reads_the_wavelengths_of_what_we_write(full_cube: Cube, tmp_path: Path) -> None:
    write_cube(full_cube, tmp_path / "cube.hdr")
    with rasterio.open(tmp_path / "cube.img") as source:
        assert float(source.tags(2)["wavelength"]) == 510.25
        assert source.tags(2)["wavelength_units"] == "Nanometers"
        assert source.nodata == -32768
    write_cube(full_cube, tmp_path / "cube.tif")
    with rasterio.open(tmp_path / "cube.tif") as source:
        assert float(source.tags(2)["fwhm"]) == 6
        assert source.descriptions[0] == "400.5 nm"
        assert set(source.scales) == {0.0001}


def test_npy_says_what_it_loses(full_cube: Cube, make_cube, tmp_path: Path, recwarn) -> None:
    write_cube(make_cube(), tmp_path / "bare.npy")
    assert not recwarn.list
    write_cube(full_cube, tmp_path / "cube.npy")
    [warning] = [str(one.message) for one in recwarn.list]
    assert "wavelengths" in warning
    assert "transform" in warning
    np.testing.assert_array_equal(np.load(tmp_path / "cube.npy"), full_cube.data)


def test_memory_mapped_and_big_endian_cubes_are_written(tmp_path: Path, make_cube) -> None:
    cube = make_cube(6, 7, 3)
    swapped = replace(cube, data=cube.data.astype(">u2"))
    for suffix in (".tif", ".npz", ".hdr"):
        write_cube(swapped, tmp_path / f"made{suffix}")
        np.testing.assert_array_equal(read_cube(tmp_path / f"made{suffix}").data, cube.data)


@pytest.mark.parametrize("suffix", [".npz", ".tif", ".hdr", ".npy"])
def test_an_unwritable_folder_is_refused_and_nothing_is_left(make_cube, tmp_path, suffix) -> None:
    with pytest.raises(DataError, match=r"\A[^\n]*cannot be written[^\n]*\Z"):
        write_cube(make_cube(), tmp_path / "missing" / f"cube{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(make_cube, tmp_path, monkeypatch) -> None:
    write_cube(make_cube(6, 7, 3), tmp_path / "cube.tif")
    before = (tmp_path / "cube.tif").read_bytes()

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("edgesr.cube.writers._tag_bands", fail)
    with pytest.raises(DataError, match="disk full"):
        write_cube(make_cube(8, 9, 4), tmp_path / "cube.tif")
    assert (tmp_path / "cube.tif").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["cube.tif"]


def test_an_unknown_suffix_is_refused(make_cube, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot write \.png; choose one of \.npz"):
        write_cube(make_cube(), tmp_path / "cube.png")


def test_no_warning_reaches_the_user(make_cube, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_cube(make_cube(), tmp_path / "cube.tif")
        assert json.dumps(read_cube(tmp_path / "cube.tif").shape) == "[96, 96, 6]"
