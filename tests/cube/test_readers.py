"""Every format is written by another library than the one that is tested, then read."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io

from edgesr.cube.cube import Cube
from edgesr.cube.readers import read_cube, split_spec
from edgesr.errors import DataError

DATA = np.random.default_rng(0).integers(1, 4000, (7, 9, 5)).astype(np.int16)
HEADER = """ENVI
samples = 9
lines = 7
bands = 5
header offset = {offset}
data type = {type}
interleave = {interleave}
byte order = {order}
wavelength units = {units}
wavelength = {{ {wavelengths} }}
fwhm = {{ {fwhm} }}
bbl = {{ 1, 1, 0, 1, 1 }}
data ignore value = 9999
map info = {{UTM, 1, 1, 366015, 5809965, 30, 30, 33, North, WGS-84, units=Meters}}
"""
WAVELENGTHS = [400.5, 500.0, 650.25, 800.0, 2100.0]


def envi(folder: Path, interleave: str, order: int, dtype: str, code: int, **fields) -> Path:
    """Write header and data by hand: ``order`` 1 is big-endian, ``code`` ENVI's data type."""
    axes = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}[interleave]
    values = DATA.transpose(axes).astype(np.dtype(dtype).newbyteorder("<>"[order]))
    offset = fields.pop("offset", 0)
    path = folder / "cube.img"
    path.write_bytes(b"\7" * offset + values.tobytes())
    fields.setdefault("units", "Nanometers")
    fields.setdefault("wavelengths", ", ".join(map(str, WAVELENGTHS)))
    fields.setdefault("fwhm", "5, 6, 7, 8, 9")
    text = HEADER.format(interleave=interleave, order=order, type=code, offset=offset, **fields)
    path.with_suffix(".hdr").write_text(text)
    return path


def one_line(*messages: str):
    return pytest.raises(DataError, match=r"\A[^\n]*" + "[^\n]*".join(messages) + r"[^\n]*\Z")


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(("dtype", "code"), [("i2", 2), ("f4", 4), ("f8", 5), ("u2", 12)])
@pytest.mark.parametrize("suffix", [".img", ".hdr"])
def test_envi(tmp_path: Path, interleave: str, order: int, dtype: str, code: int, suffix) -> None:
    path = envi(tmp_path, interleave, order, dtype, code, offset=13)
    cube = read_cube(path.with_suffix(suffix))
    np.testing.assert_array_equal(cube.data, DATA)
    assert isinstance(cube.data, np.memmap)
    np.testing.assert_allclose(cube.wavelengths, WAVELENGTHS)
    np.testing.assert_allclose(cube.fwhm, [5, 6, 7, 8, 9])
    assert cube.bad_bands.tolist() == [False, False, True, False, False]
    assert cube.nodata == 9999
    assert cube.transform == (30, 0, 366015, 0, -30, 5809965)
    assert rasterio.crs.CRS.from_wkt(cube.crs).to_dict()["zone"] == 33


@pytest.mark.parametrize("interleave", ["BSQ", "BIL", "BIP"])
def test_envi_as_gdal_writes_it(tmp_path: Path, interleave: str) -> None:
    path = tmp_path / "cube.dat"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            path, "w", driver="ENVI", width=9, height=7, count=5, dtype="int16",
            interleave=interleave,
        ) as target:  # fmt: skip
            target.write(np.moveaxis(DATA, -1, 0))
    cube = read_cube(path)
    np.testing.assert_array_equal(cube.data, DATA)
    assert cube.wavelengths is cube.crs is cube.transform is None


@pytest.mark.parametrize(
    ("units", "factor"),
    [("Micrometers", 1e3), ("um", 1e3), ("nm", 1), ("Unknown", 1e3), ("Nanometers", 1)],
)
def test_envi_wavelengths_become_nanometres(tmp_path: Path, units: str, factor: float) -> None:
    centres = np.array([0.4, 0.5, 0.65, 0.8, 2.1]) * (1e3 / factor)
    cube = read_cube(
        envi(tmp_path, "bsq", 0, "i2", 2, units=units, wavelengths=", ".join(map(str, centres)))
    )
    np.testing.assert_allclose(cube.wavelengths, centres * factor)
    np.testing.assert_allclose(cube.fwhm, np.arange(5, 10))  # no band is 5 micrometres wide


def test_envi_units_that_are_no_length_are_left_out(tmp_path: Path) -> None:
    cube = read_cube(envi(tmp_path, "bsq", 0, "i2", 2, units="Wavenumber"))
    assert cube.wavelengths is None
    assert cube.fwhm is None


def test_envi_header_named_after_the_data_file(tmp_path: Path) -> None:
    path = envi(tmp_path, "bil", 0, "i2", 2)
    path = path.rename(tmp_path / "cube.raw")
    (tmp_path / "cube.hdr").rename(tmp_path / "cube.raw.hdr")
    for spec in (path, tmp_path / "cube.raw.hdr"):
        np.testing.assert_array_equal(read_cube(spec).data, DATA)


def test_envi_truncated_and_headerless_and_dataless(tmp_path: Path) -> None:
    path = envi(tmp_path, "bil", 0, "i2", 2)
    path.write_bytes(path.read_bytes()[:-1])
    with one_line("truncated: the header describes 630 bytes, the file has 629", "copy it again"):
        read_cube(path)
    header = path.with_suffix(".hdr")
    path.unlink()
    with one_line("data file of this ENVI header is missing"):
        read_cube(header)
    path.write_bytes(b"\1" * 630)
    header.unlink()
    with one_line("put its .hdr beside it"):
        read_cube(path)


def geotiff(path: Path, data: np.ndarray = DATA, **fields) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", width=data.shape[1], height=data.shape[0], count=data.shape[2],
        dtype=data.dtype, crs="EPSG:32633",
        transform=rasterio.Affine(30, 0, 366015, 0, -30, 5809965), **fields,
    ) as target:  # fmt: skip
        target.write(np.moveaxis(data, -1, 0))


def test_geotiff_as_enmap_has_it(tmp_path: Path) -> None:
    path = tmp_path / "enmap.tif"
    data = DATA.copy()
    data[:, :, 2] = data[1, 1] = -32768
    data[4, 5, 0] = -32768
    geotiff(path, data, nodata=-32768)
    with rasterio.open(path, "r+") as target:
        target.scales = (0.0001,) * 5
        for band, centre in enumerate(WAVELENGTHS):
            target.update_tags(
                band + 1, wavelength=str(centre / 1e3), wavelength_units="Micrometers",
                fwhm="0.008", bbl=str(int(band != 4)),
            )  # fmt: skip
    cube = read_cube(path)
    np.testing.assert_array_equal(cube.data, data)
    np.testing.assert_allclose(cube.wavelengths, WAVELENGTHS)
    np.testing.assert_allclose(cube.fwhm, 8)
    assert cube.bad_bands.tolist() == [False, False, True, False, True]
    assert np.argwhere(cube.mask).tolist() == [[1, 1], [4, 5]]
    assert (cube.nodata, cube.gain) == (-32768, 0.0001)
    assert cube.transform == (30, 0, 366015, 0, -30, 5809965)
    assert rasterio.crs.CRS.from_wkt(cube.crs).to_epsg() == 32633


def test_geotiff_wavelengths_from_descriptions(tmp_path: Path) -> None:
    path = tmp_path / "described.tif"
    geotiff(path)
    with rasterio.open(path, "r+") as target:
        for band, centre in enumerate(WAVELENGTHS):
            target.set_band_description(band + 1, f"band {band + 1} ({centre} Nanometers)")
    np.testing.assert_allclose(read_cube(path).wavelengths, WAVELENGTHS)


def test_geotiff_wavelengths_from_gdal_imagery_domain(tmp_path: Path) -> None:
    path = tmp_path / "imagery.tif"
    geotiff(path)
    with rasterio.open(path, "r+") as target:
        for band, centre in enumerate(WAVELENGTHS):
            target.update_tags(
                band + 1, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=str(centre / 1e3), FWHM_UM="0.01"
            )
    cube = read_cube(path)
    np.testing.assert_allclose(cube.wavelengths, WAVELENGTHS)
    np.testing.assert_allclose(cube.fwhm, 10)


def test_geotiff_without_tags_and_truncated(tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    geotiff(path)
    cube = read_cube(path)
    assert cube.wavelengths is cube.bad_bands is cube.mask is cube.nodata is cube.gain is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with one_line("plain.tif: cannot be read as a GeoTIFF", "truncated"):
        read_cube(path)


def test_matlab5(tmp_path: Path) -> None:
    path = tmp_path / "cube.mat"
    scipy.io.savemat(path, {"hsi": DATA, "map": np.zeros((7, 9)), "wavelengths": WAVELENGTHS})
    cube = read_cube(path)
    np.testing.assert_array_equal(cube.data, DATA)
    np.testing.assert_allclose(cube.wavelengths, WAVELENGTHS)
    assert cube.name == "cube"


def test_matlab5_struct(tmp_path: Path) -> None:
    path = tmp_path / "cube.mat"
    inner = {"Data": DATA, "info": {"wavelength": np.array(WAVELENGTHS)}}
    scipy.io.savemat(path, {"hsi": inner})
    for spec in (path, f"{path}:hsi.Data"):
        cube = read_cube(spec)
        np.testing.assert_array_equal(cube.data, DATA)
        np.testing.assert_allclose(cube.wavelengths, WAVELENGTHS)


def matlab73(path: Path, **arrays: np.ndarray) -> None:
    """As MATLAB stores: a user block of 512 bytes, column-major, so HDF5 shows axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=np.asarray(array).T)
            file[name].attrs["MATLAB_class"] = np.bytes_("int16")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))


def test_matlab73_axes_are_turned_back(tmp_path: Path) -> None:
    path = tmp_path / "cube.mat"
    matlab73(path, data=DATA, truth=np.zeros((7, 9)), wavelength=np.array([WAVELENGTHS]))
    for spec in (path, f"{path}:data", f"{path}:/data"):
        cube = read_cube(spec)
        np.testing.assert_array_equal(cube.data, DATA)
        np.testing.assert_allclose(cube.wavelengths, WAVELENGTHS)


@pytest.mark.parametrize("write", [scipy.io.savemat, lambda path, arrays: matlab73(path, **arrays)])
def test_matlab_ambiguous_missing_and_flat_variables(tmp_path: Path, write) -> None:
    path = tmp_path / "cube.mat"
    write(path, {"a": DATA, "b": DATA[:, :, :3], "flat": DATA[:, :, 0]})
    with one_line("several arrays have three axes; name one", r"a \(7 x 9 x 5", r"b \(7 x 9 x 3"):
        read_cube(path)
    np.testing.assert_array_equal(read_cube(f"{path}:b").data, DATA[:, :, :3])
    with one_line("has no variable 'c'; it holds", r"a \(7 x 9 x 5"):
        read_cube(f"{path}:c")
    with one_line("flat has 2 axes", "a cube has three"):
        read_cube(f"{path}:flat")


@pytest.mark.parametrize("write", [scipy.io.savemat, lambda path, arrays: matlab73(path, **arrays)])
def test_matlab_truncated_and_without_cube(tmp_path: Path, write) -> None:
    path = tmp_path / "cube.mat"
    write(path, {"flat": DATA[:, :, 0]})
    with one_line("no array has three axes", "flat"):
        read_cube(path)
    big = np.random.default_rng(0).integers(0, 9000, (40, 40, 20)).astype(np.int16)
    write(path, {"a": big})
    path.write_bytes(path.read_bytes()[:9000])
    with one_line("cube.mat: cannot be read", "truncated"):
        read_cube(path)


def test_hdf5_with_nodata_and_bands_first(tmp_path: Path) -> None:
    path = tmp_path / "neon.h5"
    data = DATA.copy()
    data[2, 3, 1] = -9999
    with h5py.File(path, "w") as file:
        item = file.create_dataset("SITE/Reflectance/Data", data=np.moveaxis(data, -1, 0))
        item.attrs["Data_Ignore_Value"] = -9999.0
        item.attrs["scale_factor"] = 0.001
        centres = file.create_dataset("SITE/Spectral/Wavelength", data=np.array(WAVELENGTHS) / 1e3)
        centres.attrs["Units"] = "micrometers"
        file.create_dataset("SITE/Spectral/FWHM", data=np.full(5, 0.006))
    for spec in (path, f"{path}:/SITE/Reflectance/Data", f"{path}:SITE/Reflectance/Data"):
        cube = read_cube(spec)
        np.testing.assert_array_equal(cube.data, data)
        np.testing.assert_allclose(cube.wavelengths, WAVELENGTHS)
        np.testing.assert_allclose(cube.fwhm, 6)
        assert (cube.nodata, cube.gain) == (-9999, 0.001)
        assert np.argwhere(cube.mask).tolist() == [[2, 3]]


def test_hdf5_truncated(tmp_path: Path) -> None:
    path = tmp_path / "cube.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros((20, 20, 20))
    path.write_bytes(path.read_bytes()[:5000])
    with one_line("cube.h5: cannot be read as HDF5", "truncated"):
        read_cube(path)


def test_npy_is_memory_mapped_however_large(tmp_path: Path) -> None:
    """An 11 GB cube, all hole: opening it and cutting a window out reads next to nothing."""
    path = tmp_path / "huge.npy"
    shape = (2517, 4671, 256)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": shape}
        )
        file.truncate(file.tell() + int(np.prod(shape)) * 4)
    cube = read_cube(path)
    assert cube.data.nbytes > 11e9
    assert isinstance(cube.data, np.memmap)
    assert cube.mask is None
    assert not cube.data[2000:2010, 4000:4010].any()


def test_npy_keeps_nan_in_the_mask(tmp_path: Path) -> None:
    data = DATA.astype(np.float32)
    data[1, 2, 3] = np.nan
    data[:, :, 4] = np.nan
    np.save(tmp_path / "cube.npy", data)
    cube = read_cube(tmp_path / "cube.npy")
    assert np.argwhere(cube.mask).tolist() == [[1, 2]]
    assert cube.bad_bands.tolist() == [False] * 4 + [True]


def test_npy_truncated_flat_and_pickled(tmp_path: Path) -> None:
    path = tmp_path / "cube.npy"
    np.save(path, DATA)
    path.write_bytes(path.read_bytes()[:-10])
    with one_line("cube.npy: cannot be read as a NumPy array", "truncated"):
        read_cube(path)
    np.save(path, DATA[:, :, 0])
    with one_line("2 axes", "reshape it"):
        read_cube(path)
    np.save(path, np.array([{"code": 1}], dtype=object), allow_pickle=True)
    with one_line("cube.npy: cannot be read"):
        read_cube(path)


def test_foreign_npz(tmp_path: Path) -> None:
    path = tmp_path / "cube.npz"
    np.savez(path, image=DATA, truth=DATA[:, :, 0], wavelength=np.array(WAVELENGTHS))
    for spec in (path, f"{path}:image"):
        cube = read_cube(spec)
        np.testing.assert_array_equal(cube.data, DATA)
        np.testing.assert_allclose(cube.wavelengths, WAVELENGTHS)
    with one_line("has no variable 'x'", "image"):
        read_cube(f"{path}:x")
    path.write_bytes(path.read_bytes()[:-30])
    with one_line("cube.npz: cannot be read as a NumPy archive", "truncated"):
        read_cube(path)


def test_what_is_no_cube_at_all(tmp_path: Path) -> None:
    with one_line("missing.npy does not exist", "indian_pines"):
        read_cube(tmp_path / "missing.npy")
    with one_line("is a folder"):
        read_cube(tmp_path)
    (tmp_path / "empty.npy").touch()
    with one_line("file is empty"):
        read_cube(tmp_path / "empty.npy")
    (tmp_path / "note.txt").write_text("hello")
    with one_line("neither ENVI", "GeoTIFF"):
        read_cube(tmp_path / "note.txt")
    os.mkfifo(tmp_path / "pipe")
    with one_line("neither a file nor a folder"):
        read_cube(tmp_path / "pipe")
    with one_line("missing.mat does not exist"):
        read_cube(f"{tmp_path}/missing.mat:data")


def test_a_cube_that_does_not_fit_into_memory(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("edgesr.cube.memory.free_memory", lambda: 100)
    geotiff(tmp_path / "cube.tif")
    with one_line("needs about", r"convert the cube to \.npy"):
        read_cube(tmp_path / "cube.tif")


def test_specs(tmp_path: Path) -> None:
    assert split_spec("a/b.mat:x.y") == (Path("a/b.mat"), "x.y")
    assert split_spec("b.h5:/p/q") == (Path("b.h5"), "/p/q")
    assert split_spec("C:/b.tif") == (Path("C:/b.tif"), None)
    assert read_cube("indian_pines").shape == (145, 145, 200)


@pytest.mark.parametrize(
    ("name", "shape", "wavelengths", "bad"),
    [
        ("corn_kernel_envi.hdr", (31, 43, 580), (366.551, 1048.421), 0),
        ("corn_kernel_envi.raw", (31, 43, 580), (366.551, 1048.421), 0),
        ("enmap_tile_a.tif", (32, 32, 224), (418.24, 2445.53), 6),
        ("enmap_tile_b.tif", (32, 32, 224), (418.24, 2445.53), 6),
        ("gator_v5.mat", (90, 90, 224), (365.910004, 2496.219971), 0),
        ("muufl_gulfport_v73.mat:data", (100, 100, 64), None, 0),
    ],
)
def test_real_files(shared_data: Path, name: str, shape, wavelengths, bad: int) -> None:
    cube = read_cube(f"{shared_data}/formats/{name}")
    assert cube.shape == shape
    assert wavelengths is None or (cube.wavelengths[0], cube.wavelengths[-1]) == wavelengths
    assert (0 if cube.bad_bands is None else cube.bad_bands.sum()) == bad
    assert cube.mask is None
    if name.startswith("enmap"):
        assert rasterio.crs.CRS.from_wkt(cube.crs).to_epsg() == 32633
        assert cube.nodata == -32768


def test_real_envi_is_what_gdal_reads(shared_data: Path, tmp_path: Path) -> None:
    cube = read_cube(shared_data / "formats" / "corn_kernel_envi.hdr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(shared_data / "formats" / "corn_kernel_envi.raw") as source:
            np.testing.assert_array_equal(cube.data, np.moveaxis(source.read(), 0, -1))
    for suffix in (".hdr", ".raw"):
        shutil.copyfile(
            (shared_data / "formats" / "corn_kernel_envi").with_suffix(suffix),
            tmp_path / f"cut{suffix}",
        )
    with (tmp_path / "cut.raw").open("r+b") as file:
        file.truncate(1000)
    with one_line("truncated"):
        read_cube(tmp_path / "cut.hdr")


def test_real_scenes(shared_data: Path) -> None:
    manifest = (shared_data / "MANIFEST.tsv").read_text().splitlines()[1:]
    for line in manifest:
        name, shape, dtype, *_ = line.split("\t")
        cube: Cube = read_cube(shared_data / "scenes" / name)
        assert "x".join(map(str, cube.shape)) == shape
        assert cube.data.dtype == dtype
