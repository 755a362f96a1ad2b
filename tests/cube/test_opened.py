"""What is opened knows as much as what is read, and its windows are those of the whole."""

from __future__ import annotations

import json
import pickle
import threading
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io

from edgesr.cli.main import main
from edgesr.cube import Cube, ReadOptions, Window, open_cube, read_cube, write_cube
from edgesr.cube.opened import OpenCube
from edgesr.cube.pixels import ArrayPixels, SelectedPixels
from edgesr.errors import DataError, OptionError

WINDOWS = (Window(0, 0, 20, 30), Window(3, 5, 7, 11), Window(19, 29, 1, 1))
BANDS = (None, [1], [4, 0, 2], [0, 4], list(range(5)))


def hdf5(path: Path, cube: Cube, order: str = "hwb") -> None:
    axes = ["hwb".index(axis) for axis in order]
    with h5py.File(path, "w") as file:
        stored = cube.data.transpose(axes)
        chunks = tuple(min(4, side) for side in stored.shape)
        item = file.create_dataset("cube", data=stored, chunks=chunks, compression="gzip")
        item.attrs["_FillValue"] = cube.nodata
        file["wavelength"] = cube.wavelengths


def write(path: Path, cube: Cube) -> None:
    if path.suffix == ".npy":
        np.save(path, cube.data)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, {"cube": cube.data})
    elif path.suffix in (".h5", ".nc"):
        hdf5(path, cube, "bhw" if path.suffix == ".nc" else "hwb")
    else:
        write_cube(cube, path)


@pytest.fixture(params=["a.npy", "a.img", "a.tif", "a.h5", "a.nc", "a.npz", "a.mat"])
def path(request, full_cube, tmp_path) -> Path:
    cube = replace(full_cube, data=full_cube.data.copy())
    cube.data[5, 6, 4] = -32768  # in a bad band alone
    write(tmp_path / request.param, cube)
    return tmp_path / request.param


def test_windows_are_those_of_the_whole(path, full_cube):
    whole = read_cube(path)
    with open_cube(path) as opened:
        assert (opened.shape, opened.dtype) == (whole.shape, whole.data.dtype)
        for what in ("name", "nodata", "crs", "transform", "gain", "source"):
            assert getattr(opened, what) == getattr(whole, what), what
        for what in ("wavelengths", "fwhm", "bad_bands"):
            np.testing.assert_array_equal(getattr(opened, what), getattr(whole, what))
        for window in WINDOWS:
            rows, cols = window.slices
            for bands in BANDS:
                expected = whole.data[rows, cols][:, :, slice(None) if bands is None else bands]
                np.testing.assert_array_equal(opened.read(window, bands), expected)
                if whole.nodata is not None:
                    invalid = (expected == -32768).any(axis=2)
                    np.testing.assert_array_equal(opened.invalid(window, bands), invalid)
        assert opened.files[0] == path


def test_what_is_read_may_be_changed(path):
    with open_cube(path) as opened:
        before = opened.read(WINDOWS[1])
        opened.read(WINDOWS[1])[:] = 7
        np.testing.assert_array_equal(opened.read(WINDOWS[1]), before)


def test_a_pickled_one_is_opened_again(path):
    with open_cube(path, ReadOptions(nodata=11.0)) as opened:
        again = pickle.loads(pickle.dumps(opened))
        with again:
            assert again.nodata == 11
            np.testing.assert_array_equal(again.read(WINDOWS[1]), opened.read(WINDOWS[1]))


def test_threads_read_at_once(path):
    whole, wrong = read_cube(path).data, []
    with open_cube(path) as opened:

        def look(seed: int) -> None:
            choose = np.random.default_rng(seed)
            for _ in range(20):
                row, col = choose.integers(0, 15), choose.integers(0, 25)
                window = Window(int(row), int(col), 5, 5)
                if not (opened.read(window, [2, 0]) == whole[window.slices][:, :, [2, 0]]).all():
                    wrong.append(window)

        threads = [threading.Thread(target=look, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_window_or_band_outside_is_refused(path):
    with open_cube(path) as opened:
        for window in (Window(0, 0, 21, 30), Window(-1, 0, 5, 5), Window(0, 0, 0, 5)):
            with pytest.raises(DataError, match="not inside the image of 20 x 30"):
                opened.read(window)
        for bands in ([5], [-1], []):
            with pytest.raises(DataError, match="choose from 0 to 4"):
                opened.read(WINDOWS[0], bands)


@pytest.mark.parametrize("suffix", [".npy", ".img", ".tif", ".h5"])
def test_no_pixel_is_read_to_open(suffix, full_cube, tmp_path, monkeypatch):
    """Where they cannot be, all else is known."""
    path = tmp_path / f"a{suffix}"
    big = replace(
        full_cube, data=np.random.default_rng(0).integers(0, 9000, (20, 3000, 5)).astype("i2"),
        mask=None, nodata=-1.0,
    )  # fmt: skip
    write(path, big)
    monkeypatch.setattr("edgesr.cube.pixels.ArrayPixels.read", None)
    monkeypatch.setattr("edgesr.cube.formats._gdal.RasterPixels.read", None)
    monkeypatch.setattr("edgesr.cube.formats._hdf5.Hdf5Pixels.read", None)
    with open_cube(path) as opened:
        assert opened.shape == (20, 3000, 5)


def test_a_damaged_tile_is_one_line(tmp_path, full_cube):
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).integers(0, 9000, (400, 300, 3)).astype(np.int16)
    write_cube(Cube(noise), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    with open_cube(path) as opened, pytest.raises(DataError, match=r"\A[^\n]*a\.tif: cannot be"):
        opened.read(opened.extent)


def test_a_mask_of_its_own_is_read_by_windows(make_cube, tmp_path):
    mask = np.zeros((6, 7), dtype=bool)
    mask[2, 3] = True
    write_cube(make_cube(6, 7, 3, mask=mask), tmp_path / "made.tif")
    with open_cube(tmp_path / "made.tif") as opened:
        np.testing.assert_array_equal(opened.invalid(opened.extent, [1]), mask)
        np.testing.assert_array_equal(opened.invalid(Window(2, 3, 1, 2)), [[True, False]])


def test_bands_of_several_sources_are_one_image():
    parts = [np.random.default_rng(0).random((4, 5, bands)) for bands in (3, 2)]
    order = [4, 0, 3]
    joined = SelectedPixels([ArrayPixels(part) for part in parts], order)
    expected = np.concatenate(parts, axis=2)[:, :, order]
    np.testing.assert_array_equal(joined.whole(), expected)
    np.testing.assert_array_equal(
        joined.read(Window(1, 2, 2, 3), [2, 0]), expected[1:3, 2:5][:, :, [2, 0]]
    )
    with pytest.raises(DataError, match="differ in size"):
        SelectedPixels([ArrayPixels(parts[0]), ArrayPixels(parts[1][:3])], order)


def test_a_band_that_a_quality_layer_masks_everywhere_is_a_bad_one():
    quality = np.zeros((4, 5, 3), np.uint8)
    quality[:, :, 1], quality[2, 3, 0] = 1, 2
    opened = OpenCube(ArrayPixels(np.ones((4, 5, 3))), quality=ArrayPixels(quality))
    cube = opened.whole()
    assert cube.bad_bands.tolist() == [False, True, False]
    assert np.argwhere(cube.mask).tolist() == [[2, 3]]
    assert opened.invalid(Window(2, 3, 1, 1), [2]).tolist() == [[False]]
    assert opened.invalid(Window(2, 3, 1, 1), [0]).tolist() == [[True]]


# --- what the user knows better ------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npy", ".h5", ".npz", ".mat"])
@pytest.mark.parametrize("axes", ["bhw", "hbw", "wbh"])
def test_axes_are_as_the_user_says(suffix, axes, make_cube, tmp_path):
    data = make_cube(6, 7, 3).data
    stored = data.transpose(["hwb".index(axis) for axis in axes])
    path = tmp_path / f"a{suffix}"
    if suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["a"] = stored
    elif suffix == ".mat":
        scipy.io.savemat(path, {"a": stored})
    else:
        (np.save if suffix == ".npy" else np.savez)(path, stored)
    np.testing.assert_array_equal(read_cube(path, ReadOptions(axes=axes)).data, data)
    with open_cube(path) as opened:
        assert opened.axes_assumed


def test_nodata_and_unit_are_as_the_user_says(full_cube, tmp_path):
    write_cube(replace(full_cube, nodata=None, mask=None), tmp_path / "a.tif")
    cube = read_cube(tmp_path / "a.tif", ReadOptions(nodata=-32768, wavelength_unit="um"))
    assert (cube.nodata, cube.mask.sum()) == (-32768, 1)
    np.testing.assert_allclose(cube.wavelengths, full_cube.wavelengths * 1000)


def test_options_that_cannot_be_are_refused(full_cube, tmp_path):
    for wrong in ({"axes": "hwx"}, {"axes": "hw"}, {"wavelength_unit": "feet"}):
        with pytest.raises(OptionError):
            ReadOptions(**wrong)
    write_cube(full_cube, tmp_path / "a.tif")
    with pytest.raises(OptionError, match="says itself what its axes"):
        open_cube(tmp_path / "a.tif", ReadOptions(axes="hwb"))


# --- info ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npy", ".img", ".h5", ".tif"])
def test_info_reads_little_of_a_large_file(suffix, tmp_path, capsys, monkeypatch):
    """2 GB of holes: of which no more is read than the blocks that are looked at."""
    shape = height, width, bands = (2000, 2500, 200)
    path = tmp_path / f"huge{suffix}"
    if suffix == ".npy":
        with path.open("wb") as file:
            fields = {"descr": "<u2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, fields)
            file.truncate(file.tell() + int(np.prod(shape)) * 2)
    elif suffix == ".img":
        with path.open("wb") as file:
            file.truncate(int(np.prod(shape)) * 2)
        path.with_suffix(".hdr").write_text(
            f"ENVI\nsamples = {width}\nlines = {height}\nbands = {bands}\ndata type = 12\n"
            "interleave = bil\n"
        )
    elif suffix == ".h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("cube", shape, "u2")
    else:
        with rasterio.open(
            path, "w", driver="GTiff", height=height, width=width, count=bands, dtype="uint16",
            SPARSE_OK=True, BIGTIFF="YES", tiled=True, transform=rasterio.Affine.translation(0, 1),
        ):  # fmt: skip
            pass
    looked = []
    real = OpenCube.whole
    monkeypatch.setattr(OpenCube, "whole", lambda cube: looked.append(cube.shape) or real(cube))
    assert main(["info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["shape"] == {"height": height, "width": width, "bands": bands}
    assert facts["bytes"] == 2_000_000_000
    assert looked == [(facts["pixels_looked_at"], 1, bands)]
    assert facts["pixels_looked_at"] * bands * 2 <= 1 << 26
    assert facts["range"] == [0, 0]
