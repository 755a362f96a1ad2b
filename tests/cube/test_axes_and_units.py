"""Which axis of an array is the one of the bands, and in what unit wavelengths are."""

from __future__ import annotations

import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio

from edgesr.cube import ReadOptions, open_cube, read_cube
from edgesr.cube.info import describe_cube, render_info
from edgesr.cube.writers import write_cube
from edgesr.errors import DataError, EdgesrWarning

DATA = np.random.default_rng(0).integers(1, 4000, (7, 9, 5)).astype(np.int16)
CENTRES = np.array([400.5, 500.0, 650.25, 800.0, 2100.0])


def check(spec: Path | str, *, known: bool = True) -> None:
    with open_cube(spec) as opened:
        np.testing.assert_array_equal(opened.whole().data, DATA)
        assert opened.axes_assumed != known
        if known:
            np.testing.assert_allclose(opened.wavelengths, CENTRES)
        assert ("assumed" in render_info(describe_cube(opened))) != known


def test_wavelengths_in_an_attribute_of_the_file(tmp_path):
    """As PRISMA has it: line, band, sample, and two lists."""
    with h5py.File(tmp_path / "a.he5", "w") as file:
        file["HDFEOS/SWATHS/X/Data Fields/VNIR_Cube"] = DATA.transpose(0, 2, 1)
        file["HDFEOS/SWATHS/X/Data Fields/SWIR_Cube"] = DATA.transpose(0, 2, 1)
        file.attrs["List_Cw_Swir"] = CENTRES[::-1]
        file.attrs["List_Cw_Vnir"] = CENTRES
        file.attrs["List_Fwhm_Vnir"] = np.arange(1.0, 6)
        file.attrs["List_Cw_Vnir_Flags"] = np.ones(5, np.int8)
    check(f"{tmp_path}/a.he5:/HDFEOS/SWATHS/X/Data Fields/VNIR_Cube")
    cube = read_cube(f"{tmp_path}/a.he5:/HDFEOS/SWATHS/X/Data Fields/VNIR_Cube")
    np.testing.assert_array_equal(cube.fwhm, [1, 2, 3, 4, 5])
    other = read_cube(f"{tmp_path}/a.he5:/HDFEOS/SWATHS/X/Data Fields/SWIR_Cube")
    np.testing.assert_array_equal(other.wavelengths, CENTRES[::-1])


def test_wavelengths_beside_that_share_a_word_with_the_name(tmp_path):
    """As PACE has it: band, line, sample, and a vector for each of two spectrometers."""
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["observation_data/rhot_red"] = DATA.transpose(2, 0, 1)
        file["observation_data/qual"] = np.zeros((7, 9), np.uint8)
        file["sensor_band_parameters/blue_wavelength"] = CENTRES[::-1]
        file["sensor_band_parameters/red_wavelength"] = CENTRES
    check(tmp_path / "a.nc")


def test_a_vector_in_units_of_wavelengths(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = DATA.transpose(2, 0, 1)
        file["centre"] = CENTRES / 1000
        file["centre"].attrs["units"] = "micrometers"
        file["width"] = np.arange(9.0)
        file["width"].attrs["units"] = "m"
    check(tmp_path / "a.h5")


def test_a_name_of_an_axis(tmp_path):
    cubic = np.random.default_rng(0).random((6, 6, 6))  # of which no length tells
    with h5py.File(tmp_path / "a.nc", "w") as file:
        for name in ("wavelength", "y", "x"):
            file[name] = np.arange(6.0) + 400
            file[name].make_scale(name)
        file["image"] = cubic
        for axis, name in enumerate(("wavelength", "y", "x")):
            file["image"].dims[axis].attach_scale(file[name])
    with open_cube(tmp_path / "a.nc") as opened:
        np.testing.assert_array_equal(opened.whole().data, cubic.transpose(1, 2, 0))
        assert not opened.axes_assumed
        np.testing.assert_array_equal(opened.wavelengths, np.arange(6.0) + 400)


def test_an_order_that_nothing_tells_is_assumed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = DATA
    np.save(tmp_path / "a.npy", DATA)
    np.savez(tmp_path / "a.npz", DATA)
    for name in ("a.h5", "a.npy", "a.npz"):
        check(tmp_path / name, known=False)
    with open_cube(tmp_path / "a.npy", ReadOptions(axes="hwb")) as opened:
        assert not opened.axes_assumed


def test_two_axes_that_wavelengths_fit_are_assumed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = DATA[:5]
        file["wavelength"] = CENTRES
    with open_cube(tmp_path / "a.h5") as opened:
        assert opened.axes_assumed
        assert opened.shape == (5, 9, 5)


def test_the_place_by_the_conventions_of_cf(tmp_path):
    path = tmp_path / "a.nc"
    with h5py.File(path, "w") as file:
        file["image"] = DATA.transpose(2, 0, 1)
        file["image"].attrs["grid_mapping"] = "crs"
        file["wavelength"] = CENTRES
        file["crs"] = np.int32(0)
        file["crs"].attrs["crs_wkt"] = rasterio.crs.CRS.from_epsg(32633).to_wkt()
        file["y"], file["x"] = 5000 - 30.0 * np.arange(7), 300 + 30.0 * np.arange(9)
        for axis, name in enumerate(("wavelength", "y", "x")):
            file[name].make_scale(name)
            file["image"].dims[axis].attach_scale(file[name])
    cube = read_cube(path)
    assert cube.transform == (30, 0, 285, 0, -30, 5015)
    assert rasterio.crs.CRS.from_wkt(cube.crs).to_epsg() == 32633
    with h5py.File(path, "a") as file:
        file["crs"].attrs["GeoTransform"] = "100 20 1 200 2 -20"
    assert read_cube(path).transform == (20, 1, 100, 2, -20, 200)


# --- MATLAB --------------------------------------------------------------------------------------


def test_a_mat_file_that_matlab_has_not_written_is_as_it_is(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["image"] = DATA
        file["wavelength"] = CENTRES
    check(tmp_path / "a.mat")
    with h5py.File(tmp_path / "b.mat", "w", userblock_size=512) as file:
        file["image"] = DATA.T
        file["wavelength"] = CENTRES
    with (tmp_path / "b.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")
    check(tmp_path / "b.mat")
    with h5py.File(tmp_path / "c.mat", "w") as file:
        file["image"] = DATA.T
        file["image"].attrs["MATLAB_class"] = np.bytes_("int16")
        file["wavelength"] = CENTRES
    check(tmp_path / "c.mat")


def test_what_cells_hold_competes_with_no_variable(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = DATA
        file["wavelength"] = CENTRES
        file["#refs#/b"] = DATA[:, :, :3]
        file["#refs#/c"] = DATA[:, :, :3]
        file["#subsystem#/d"] = DATA[:, :, :3]
    check(tmp_path / "a.h5")
    with pytest.warns(EdgesrWarning, match=r"/wavelength \(5\) left out"):
        assert read_cube(f"{tmp_path}/a.h5:/#refs#/b").shape == (7, 9, 3)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["image"]
    with pytest.raises(DataError, match=r"several arrays .* such as .*a.h5:/#refs#/b"):
        read_cube(tmp_path / "a.h5")


# --- units ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "factor", "told"),
    [("Micrometers", 1, "nm"), ("nm", 1 / 1000, "um"), ("nm", 1, None), ("um", 1 / 1000, None)],
)
@pytest.mark.parametrize("suffix", [".tif", ".img", ".h5"])
def test_a_unit_that_cannot_be_is_replaced_and_said(
    tmp_path, make_cube, suffix, unit, factor, told
):
    path = tmp_path / f"a{suffix}"
    stored = CENTRES * factor
    if suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["a"], file["wavelength"] = DATA, stored
            file["wavelength"].attrs["units"] = unit
    elif suffix == ".tif":
        write_cube(make_cube(7, 9, 5), path)
        with rasterio.open(path, "r+") as file:
            for band, centre in enumerate(stored, 1):
                file.update_tags(band, wavelength=centre, wavelength_units=unit)
    else:
        write_cube(make_cube(7, 9, 5), path)
        with path.with_suffix(".hdr").open("a") as file:
            listed = ", ".join(map(str, stored))
            file.write(f"wavelength = {{{listed}}}\nwavelength units = {unit}\n")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        np.testing.assert_allclose(read_cube(path).wavelengths, CENTRES)
        lines = [str(one.message) for one in warned if one.category is EdgesrWarning]
    if told is None:
        assert not lines
    else:
        [line] = lines
        assert f"{path}: wavelengths are said to be in {unit}, but can only be in {told}" in line
    said = read_cube(path, ReadOptions(wavelength_unit="um" if "m" in unit.lower()[0] else "nm"))
    expected = stored * (1000 if unit.lower().startswith("m") else 1)
    np.testing.assert_allclose(said.wavelengths, expected)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("Nanometers (nm)", 1), ("nanometre", 1), ("NM", 1), ("Micrometers", 1e-3), ("µm", 1e-3),
        ("microns", 1e-3), ("Ångström", 10), ("Angstroms", 10), ("mm", 1e-6), ("meters", 1e-9),
    ],
)  # fmt: skip
def test_units_as_they_are_spelt(tmp_path, make_cube, unit, factor):
    write_cube(make_cube(7, 9, 5), tmp_path / "a.img")
    with (tmp_path / "a.hdr").open("a") as file:
        listed = ", ".join(map(str, CENTRES * factor))
        file.write(f"wavelength = {{{listed}}}\nwavelength units = {unit}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error", EdgesrWarning)
        np.testing.assert_allclose(read_cube(tmp_path / "a.img").wavelengths, CENTRES)


def test_a_unit_that_is_no_length_is_told(tmp_path, make_cube):
    write_cube(make_cube(7, 9, 5), tmp_path / "a.img")
    with (tmp_path / "a.hdr").open("a") as file:
        file.write("wavelength = {400, 500, 600, 700, 800}\nwavelength units = GHz\n")
    with pytest.warns(EdgesrWarning, match=r"a\.img: wavelengths left out, as GHz is no unit"):
        assert read_cube(tmp_path / "a.img").wavelengths is None
    cube = read_cube(tmp_path / "a.img", ReadOptions(wavelength_unit="nm"))
    assert cube.wavelengths.tolist() == [400, 500, 600, 700, 800]


@pytest.mark.parametrize(
    ("centres", "unit", "width", "told"),
    [(1.0, "nm", 10, None), (1e-3, "um", 0.01, None), (1e-3, "um", 10, "nm"),
     (1.0, "nm", 0.01, "um"), (1.0, "", 0.01, "um")],
)  # fmt: skip
def test_widths_in_another_unit_than_the_wavelengths(
    tmp_path, make_cube, centres, unit, width, told
):
    """Of bands from 400 to 2100 nm, none is 0.01 nm wide, and none 10 micrometres."""
    write_cube(make_cube(7, 9, 5), tmp_path / "a.img")
    with (tmp_path / "a.hdr").open("a") as file:
        listed = ", ".join(map(str, CENTRES * centres))
        file.write(f"wavelength = {{{listed}}}\nwavelength units = {unit}\n")
        file.write(f"fwhm = {{{', '.join([str(width)] * 5)}}}\n")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", EdgesrWarning)
        cube = read_cube(tmp_path / "a.img")
    np.testing.assert_allclose(cube.fwhm, 10)
    lines = [str(one.message) for one in warned if one.category is EdgesrWarning]
    assert [f"can only be in {told}" in line for line in lines] == [True] * (told is not None)


def test_widths_have_a_unit_of_their_own(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = DATA
        file["wavelength"], file["fwhm"] = CENTRES / 1000, np.full(5, 0.4)
        file["wavelength"].attrs["units"], file["fwhm"].attrs["units"] = "um", "nm"
    np.testing.assert_array_equal(read_cube(tmp_path / "a.h5").fwhm, 0.4)


def test_the_unit_of_the_image_is_not_that_of_its_wavelengths(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = DATA
        about = file["image"].attrs
        about["units"], about["wavelength"] = "W/m2/sr/um", CENTRES / 1000
        about["fwhm"], about["fwhm_units"] = np.full(5, 10.0), "nm"
    cube = read_cube(tmp_path / "a.h5")
    np.testing.assert_allclose(cube.wavelengths, CENTRES)
    np.testing.assert_array_equal(cube.fwhm, 10)


def test_wavelengths_of_zero_beside_widths(tmp_path):
    np.savez(tmp_path / "a.npz", image=DATA, wavelength=np.zeros(5), fwhm=np.full(5, 10.0))
    with pytest.warns(EdgesrWarning, match="wavelengths left out"):
        cube = read_cube(tmp_path / "a.npz")
    assert cube.wavelengths is None


@pytest.mark.parametrize(("widths", "factor"), [(np.arange(5.0, 10), 1), (np.full(5, 0.01), 1000)])
def test_widths_of_no_unit(tmp_path, widths, factor):
    np.savez(tmp_path / "a.npz", image=DATA, fwhm=widths)
    np.testing.assert_array_equal(read_cube(tmp_path / "a.npz").fwhm, widths * factor)


@pytest.mark.parametrize("suffix", [".npz", ".tif", ".img"])
def test_widths_alone_come_back(tmp_path, make_cube, suffix):
    write_cube(make_cube(7, 9, 5, fwhm=np.arange(5.0, 10)), tmp_path / f"a{suffix}")
    cube = read_cube(tmp_path / f"a{suffix}")
    assert cube.wavelengths is None
    np.testing.assert_array_equal(cube.fwhm, np.arange(5.0, 10))


# --- lists of other names, places and lengths ----------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["wavelengths_nm", "CenterWavelength", "wl", "WL_nm", "wave", "wav", "wvl", "lambda",
     "band_centers", "band_centre", "bands_nm", "wavelen", "info/Wave_Length"],
)  # fmt: skip
def test_names_of_wavelengths(tmp_path, name):
    np.savez(tmp_path / "a.npz", image=DATA.transpose(2, 0, 1), **{name: CENTRES})
    check(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["bands", "index", "wavelength_unit", "good_wavelengths", "fwhm"])
def test_names_that_are_of_no_wavelengths(tmp_path, name):
    np.savez(tmp_path / "a.npz", image=DATA, **{name: CENTRES})
    with open_cube(tmp_path / "a.npz") as opened:
        assert opened.wavelengths is None
        assert opened.axes_assumed


@pytest.mark.parametrize(
    "values",
    [CENTRES, ", ".join(map(str, CENTRES)), np.array([str(one) for one in CENTRES], "S")],
    ids=["numbers", "text", "texts"],
)
def test_attributes_of_numbers_or_text(tmp_path, values):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = DATA.transpose(2, 0, 1)
        file["image"].attrs["wavelength"] = values
        file["image"].attrs["band_names"] = ["a", "b", "", "d", "e"]
    check(tmp_path / "a.h5")
    assert read_cube(tmp_path / "a.h5").band_names == ("a", "b", "", "d", "e")


def test_the_vector_of_the_cube_s_own_name_tells_the_axis(tmp_path):
    """That of another spectrometer has as many values as the image has lines."""
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["observation_data/rhot_red"] = DATA.transpose(2, 0, 1)
        file["sensor_band_parameters/blue_wavelength"] = np.arange(7.0) + 400
        file["sensor_band_parameters/red_wavelength"] = CENTRES
    check(tmp_path / "a.nc")


def test_bands_are_assumed_where_wavelengths_fit(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = np.arange(5 * 5 * 8).reshape(5, 5, 8)
        file["wavelength"] = CENTRES
    with open_cube(tmp_path / "a.h5") as opened:
        assert opened.axes_assumed
        assert opened.shape == (5, 8, 5)
        np.testing.assert_array_equal(opened.wavelengths, CENTRES)


def test_lists_that_fit_no_axis_are_told(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = DATA
        file["wavelength"], file["bbl"] = np.arange(6.0) + 400, np.ones(8, int)
    with pytest.warns(EdgesrWarning) as warned:
        cube = read_cube(tmp_path / "a.h5")
    assert (cube.wavelengths, cube.bad_bands) == (None, None)
    assert [str(one.message).partition(": ")[2] for one in warned] == [
        "/wavelength (6) left out: of another length than the 5 bands; correct the metadata",
        "/bbl (8) left out: of another length than the 5 bands; correct the metadata",
    ]


def test_tags_of_some_bands_are_told(tmp_path, make_cube):
    path = tmp_path / "a.tif"
    write_cube(make_cube(7, 9, 5), path)
    with rasterio.open(path, "r+") as file:
        for band in range(1, 5):
            file.update_tags(band, wavelength=400 + band, wavelength_units="nm", bbl=1)
    with pytest.warns(EdgesrWarning) as warned:
        cube = read_cube(path)
    assert (cube.wavelengths, cube.bad_bands) == (None, None)
    assert [str(one.message) for one in warned] == [
        f"{path}: {what} left out: 4 of 5 bands have one; correct the metadata"
        for what in ("wavelength", "bbl")
    ]


@pytest.mark.parametrize("domain", [None, "ENVI"])
def test_lists_in_the_tags_of_a_geotiff(tmp_path, make_cube, domain):
    path = tmp_path / "a.tif"
    write_cube(make_cube(7, 9, 5), path)
    with rasterio.open(path, "r+") as file:
        listed = "{" + ", ".join(map(str, CENTRES / 1000)) + "}"
        file.update_tags(
            ns=domain, wavelength=listed, wavelength_units="um", bbl="{1,0,1,1,1}",
            fwhm="{0.01,0.01,0.01,0.01,0.02}",
        )  # fmt: skip
    cube = read_cube(path)
    np.testing.assert_allclose(cube.wavelengths, CENTRES)
    np.testing.assert_allclose(cube.fwhm, [10, 10, 10, 10, 20])
    assert cube.bad_bands.tolist() == [False, True, False, False, False]


def test_names_of_some_bands_come_through(tmp_path, make_cube):
    cube = make_cube(7, 9, 5, band_names=("red", "", "nir", "", ""))
    for suffix in (".tif", ".img", ".npz"):
        write_cube(cube, tmp_path / f"a{suffix}")
        assert read_cube(tmp_path / f"a{suffix}").band_names == cube.band_names
