"""Gain and offset of each band come through every format that can hold them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio

from edgesr.cube import Cube, read_cube, write_cube
from edgesr.cube.info import describe_cube, render_info
from edgesr.cube.scaling import factor_of, per_band
from edgesr.errors import DataError, EdgesrWarning

GAIN = np.array([1 / 3, 2e-5 / 7, 0.1])
OFFSET = np.array([0.1, -10 / 3, 1e-9 / 3])
DATA = np.arange(60, dtype=np.int16).reshape(4, 5, 3)


@pytest.mark.parametrize("suffix", [".npz", ".tif", ".img"])
def test_each_band_keeps_its_own(tmp_path: Path, suffix: str) -> None:
    cube = Cube(DATA, gain=GAIN, offset=OFFSET, band_names=("red edge", "green", "nir 2"))
    write_cube(cube, tmp_path / f"a{suffix}")
    again = read_cube(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(again.gain, GAIN)
    np.testing.assert_array_equal(again.offset, OFFSET)
    assert again.band_names == cube.band_names
    some = again.select_bands([2, 0])
    np.testing.assert_array_equal(some.gain, GAIN[[2, 0]])
    np.testing.assert_array_equal(some.offset, OFFSET[[2, 0]])
    assert some.band_names == ("nir 2", "red edge")


@pytest.mark.parametrize("suffix", [".npz", ".tif", ".hdr"])
def test_one_for_all_bands_stays_one(tmp_path: Path, suffix: str) -> None:
    write_cube(Cube(DATA, gain=0.0001, offset=-0.1), tmp_path / f"a{suffix}")
    again = read_cube(tmp_path / f"a{suffix}")
    assert (again.gain, again.offset) == (0.0001, -0.1)
    assert "0 to 59, times 0.0001, plus -0.1" in render_info(describe_cube(again))


def test_gdal_reads_what_we_write(tmp_path: Path) -> None:
    for name in ("a.tif", "a.img"):
        write_cube(Cube(DATA, gain=GAIN, offset=OFFSET), tmp_path / name)
        with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
            source = rasterio.open(tmp_path / name)
        assert (source.scales, source.offsets) == (tuple(GAIN), tuple(OFFSET))
        source.close()


def test_a_name_is_no_list_of_names(tmp_path: Path) -> None:
    names = ("red, edge", "{green}", "nir\n2")
    write_cube(Cube(DATA, band_names=names), tmp_path / "a.hdr")
    assert read_cube(tmp_path / "a.hdr").band_names == ("red edge", "green", "nir 2")


def test_a_header_with_a_reflectance_scale_factor(tmp_path: Path) -> None:
    write_cube(Cube(DATA), tmp_path / "a.hdr")
    with (tmp_path / "a.hdr").open("a") as header:
        header.write("\nReflectance  Scale Factor = 10000.0\n")
    assert read_cube(tmp_path / "a.hdr").gain == 1e-4


def test_hdf5_attributes_of_each_band(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        item = file.create_dataset("a", data=DATA)
        item.attrs["scale_factor"], item.attrs["add_offset"] = GAIN, [0.5, 0.5, 0.5]
    cube = read_cube(tmp_path / "a.h5")
    np.testing.assert_array_equal(cube.gain, GAIN)
    assert cube.offset == 0.5
    assert "times a gain of each band, plus 0.5" in render_info(describe_cube(cube))


def test_a_header_that_makes_reflectance(tmp_path: Path) -> None:
    write_cube(Cube(DATA), tmp_path / "a.hdr")
    with (tmp_path / "a.hdr").open("a") as header:
        header.write("data reflectance gain values = {1, 2, 3}\n")
        header.write("data reflectance offset values = {4, 5, 6}\n")
    cube = read_cube(tmp_path / "a.hdr")
    assert (cube.gain.tolist(), cube.offset.tolist()) == ([1, 2, 3], [4, 5, 6])
    with (tmp_path / "a.hdr").open("a") as header:  # those of the numbers themselves go before
        header.write("data gain values = {7, 7, 7}\n")
    assert (read_cube(tmp_path / "a.hdr").gain, read_cube(tmp_path / "a.hdr").offset) == (7, None)


def test_neon_divides(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["SITE/Reflectance/Reflectance_Data"] = DATA
        about = file["SITE/Reflectance/Reflectance_Data"].attrs
        about["Scale_Factor"], about["Data_Ignore_Value"] = 10000.0, -9999.0
    cube = read_cube(tmp_path / "a.h5")
    assert (cube.gain, cube.nodata) == (1e-4, -9999)


@pytest.mark.parametrize("name", ["gain", "Gains", "offset", "slope", "scale", "Scaling_Factor"])
def test_attributes_that_may_scale_are_told(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = DATA
        file["a"].attrs[name] = 0.5
    with pytest.warns(EdgesrWarning, match=rf"a\.h5: attribute {name} left out"):
        cube = read_cube(tmp_path / "a.h5")
    assert (cube.gain, cube.offset) == (None, None)


def test_attributes_that_hold_no_number_are_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = DATA
        about = file["a"].attrs
        about["scale_factor"], about["add_offset"], about["_FillValue"] = "much", "5", "none"
    with pytest.warns(EdgesrWarning) as told:
        cube = read_cube(tmp_path / "a.h5")
    assert (cube.gain, cube.offset, cube.nodata) == (None, 5, None)
    assert {str(one.message).split(": ")[1] for one in told} == {
        "attribute scale_factor left out", "attribute _FillValue left out",
    }  # fmt: skip


def test_one_for_each_band_and_no_other_number_of_them() -> None:
    with pytest.raises(DataError, match=r"gain has shape \(2,\) for 3 bands"):
        Cube(DATA, gain=GAIN[:2])
    assert factor_of([1.0, 1.0], 1.0) is factor_of(None, 1.0) is None
    assert factor_of([0.5, 0.5], 1.0) == 0.5
    np.testing.assert_array_equal(per_band(None, 3, 1.0), [1, 1, 1])
    np.testing.assert_array_equal(per_band(GAIN, 3, 1.0), GAIN)
    assert replace(Cube(DATA), gain=0.5).transposed().gain == 0.5
