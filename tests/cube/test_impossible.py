"""Metadata that cannot be: left out with a warning; in edgesr's own files, refused by name."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio

from edgesr.cube.cube import Cube
from edgesr.cube.readers import read_cube
from edgesr.cube.writers import write_cube
from edgesr.errors import DataError, EdgesrWarning

DATA = np.arange(1, 61, dtype=np.uint16).reshape(5, 4, 3)
IMPOSSIBLE = ([np.nan, 500, 600], [400, np.inf, 600], [-1, 500, 600], [0, 500, 600])


def envi(folder: Path, values: list[float]) -> Path:
    DATA.transpose(2, 0, 1).tofile(folder / "made.img")
    listed = ", ".join(map(str, values))
    (folder / "made.hdr").write_text(
        "ENVI\nsamples = 4\nlines = 5\nbands = 3\ndata type = 12\ninterleave = bsq\n"
        "byte order = 0\nheader offset = 0\nwavelength units = Nanometers\n"
        f"wavelength = {{{listed}}}\nfwhm = {{{listed}}}\n"
    )
    return folder / "made.hdr"


def geotiff(folder: Path, values: list[float]) -> Path:
    path = folder / "made.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=5, width=4, count=3, dtype="uint16",
        transform=rasterio.Affine(2, 0, 0, 0, -2, 0),
    ) as file:  # fmt: skip
        file.write(DATA.transpose(2, 0, 1))
        for band, value in enumerate(values, 1):
            file.update_tags(band, wavelength=value, wavelength_units="nm", fwhm=value)
    return path


def hdf5(folder: Path, values: list[float]) -> Path:
    with h5py.File(folder / "made.h5", "w") as file:
        file["cube"] = DATA
        file["wavelength"] = np.array(values)
        file["fwhm"] = np.array(values)
    return folder / "made.h5"


def npz(folder: Path, values: list[float]) -> Path:
    np.savez(folder / "made.npz", cube=DATA, wavelength=values, fwhm=values)
    return folder / "made.npz"


@pytest.mark.parametrize("write", [envi, geotiff, hdf5, npz])
def test_impossible_wavelengths_and_widths_are_left_out(tmp_path, write) -> None:
    for values in IMPOSSIBLE:
        path = write(tmp_path, values)
        with pytest.warns(EdgesrWarning) as told:
            cube = read_cube(path)
        assert (cube.wavelengths, cube.fwhm) == (None, None)
        np.testing.assert_array_equal(cube.data, DATA)
        warned = [str(one.message) for one in told]
        assert [line.split(": ")[0] for line in warned] == [str(path)] * 2
        assert ["wavelengths" in warned[0], "fwhm" in warned[1]] == [True, True]
    with warnings.catch_warnings():
        warnings.simplefilter("error", EdgesrWarning)
        good = read_cube(write(tmp_path, [400, 500, 600]))
    assert good.wavelengths.tolist() == [400, 500, 600]


@pytest.mark.parametrize("gain", [0.0, np.nan, -np.inf])
def test_an_impossible_gain_is_left_out(tmp_path, gain) -> None:
    path = hdf5(tmp_path, [400, 500, 600])
    with h5py.File(path, "a") as file:
        file["cube"].attrs["scale_factor"] = gain
    with pytest.warns(EdgesrWarning, match=f"{path}: gain left out"):
        assert read_cube(path).gain is None


OBJECT = np.array({"run": "me"}, dtype=object)
GARBAGE: list[tuple[str, Any]] = [
    ("data", DATA[0]), ("data", DATA[:0]), ("data", DATA.astype(object)),
    ("data", DATA.astype(complex)), ("data", DATA.astype(str)), ("data", DATA > 3),
    ("name", 3), ("name", OBJECT), ("source", b"bytes"),
    ("crs", 32633), ("crs", np.array(["EPSG:1", "EPSG:2"])), ("crs", OBJECT),
    ("transform", np.arange(5.0)), ("transform", np.zeros(6)), ("transform", "north up"),
    ("transform", np.array([1, 0, 0, 0, np.nan, 0])), ("transform", OBJECT),
    ("wavelengths", "400"), ("wavelengths", np.array(["a", "b", "c"])),
    ("wavelengths", np.ones(4)), ("wavelengths", np.array([400, np.inf, 600])),
    ("fwhm", np.ones((3, 1))), ("fwhm", np.array([1, np.nan, 1])),
    ("mask", np.zeros((5, 4))), ("mask", np.zeros((4, 5), bool)), ("mask", "none"),
    ("bad_bands", np.zeros(3)), ("bad_bands", np.zeros(2, bool)), ("bad_bands", OBJECT),
    ("nodata", "none"), ("nodata", 1e300), ("nodata", -1), ("nodata", np.zeros(2)),
    ("gain", 0.0), ("gain", np.nan), ("gain", "1"), ("gain", np.ones(2)),
    ("gain", np.array([1, 0, 1])),
    ("offset", "0"), ("offset", np.array([0, np.nan, 0])), ("offset", np.ones((3, 1))),
    ("band_names", np.array(["a"])), ("band_names", np.ones(3)),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), GARBAGE)
def test_garbage_in_an_own_file_is_refused_by_name(tmp_path, field, value) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, **{"edgesr_cube": 1, "data": DATA, field: value})
    with pytest.raises(DataError) as refusal:
        read_cube(path)
    assert str(refusal.value).startswith(f"{path}: {field} has to be ")
    assert "\n" not in str(refusal.value)


def test_an_own_file_of_an_impossible_nodata_is_written_without_it(tmp_path) -> None:
    write_cube(Cube(DATA, nodata=1e300), tmp_path / "own.npz")
    assert read_cube(tmp_path / "own.npz").nodata is None


@pytest.mark.parametrize("suffix", [".tif", ".hdr"])
def test_an_unknown_crs_is_one_line(tmp_path, suffix) -> None:
    with pytest.raises(DataError, match="correct the crs of made, or choose") as refusal:
        write_cube(Cube(DATA, "made", crs="garbage"), tmp_path / f"made{suffix}")
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []
