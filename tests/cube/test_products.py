"""Products as they are delivered: small files of the same structure, read whole and by windows."""

from __future__ import annotations

import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio

from edgesr.cube import Cube, Window, open_cube, read_cube, write_cube
from edgesr.cube.glt import ortho_window
from edgesr.cube.info import describe_cube, render_info
from edgesr.cube.parts import cube_files
from edgesr.cube.readers import find_reader
from edgesr.errors import DataError, EdgesrWarning

LINES, SAMPLES = 11, 9
RNG = np.random.default_rng(0)


def same_by_windows(path: Path, cube: Cube) -> None:
    """Windows and bands, in any order, are those of the whole cube."""
    with open_cube(path) as opened:
        assert opened.shape == cube.shape
        window, bands = Window(2, 3, 5, 4), [cube.bands - 1, 0, 2]
        expected = cube.data[2:7, 3:7]
        np.testing.assert_array_equal(opened.read(window), expected)
        np.testing.assert_array_equal(opened.read(window, bands), expected[:, :, bands])
        good = np.arange(cube.bands) if cube.bad_bands is None else np.flatnonzero(~cube.bad_bands)
        mask = np.zeros((LINES, SAMPLES), bool) if cube.mask is None else cube.mask
        np.testing.assert_array_equal(opened.invalid(window, good.tolist()), mask[2:7, 3:7])
        for what in ("wavelengths", "fwhm", "gain", "offset"):
            np.testing.assert_array_equal(getattr(opened, what), getattr(cube, what), what)


def reader_of(path: Path) -> str:
    reader = find_reader(path)
    assert reader is not None
    return reader.name


# --- PRISMA --------------------------------------------------------------------------------------

VNIR_NM = np.array([973.0, 943.0, 700.0, 500.0, 0, 0, 0])  # descending; not used: 0
SWIR_NM = np.array([2400.0, 1500.0, 960.0, 920.0, 0, 0])


@pytest.fixture
def prisma(tmp_path: Path) -> Path:
    path = tmp_path / "PRS_L2D_STD_20200501100000_20200501100004_0001.he5"
    with h5py.File(path, "w") as file:
        fields = file.create_group("HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields")
        for part, centres in (("VNIR", VNIR_NM), ("SWIR", SWIR_NM)):
            shape = (LINES, centres.size, SAMPLES)
            fields[f"{part}_Cube"] = RNG.integers(1, 65536, shape).astype(np.uint16)
            fields[f"{part}_PIXEL_L2_ERR_MATRIX"] = np.zeros(shape, np.uint8)
            name = part.capitalize()
            file.attrs[f"List_Cw_{name}"] = centres.astype(np.float32)
            file.attrs[f"List_Fwhm_{name}"] = np.where(centres > 0, 10 + centres / 1000, 0)
        fields["VNIR_Cube"][4, :, 5] = 0
        fields["VNIR_PIXEL_L2_ERR_MATRIX"][3, 3, 6] = 1  # 500 nm
        fields["VNIR_PIXEL_L2_ERR_MATRIX"][7, 6, 7] = 1  # a band that is not used
        fields["SWIR_PIXEL_L2_ERR_MATRIX"][:, 1] = 2  # 1500 nm: water
        file.attrs["L2ScaleVnirMin"], file.attrs["L2ScaleVnirMax"] = 0.0, 0.9
        file.attrs["L2ScaleSwirMin"], file.attrs["L2ScaleSwirMax"] = -0.1, 1.1
        file.attrs["Epsg_Code"] = np.uint32(32633)
        file.attrs["Product_StartTime"] = "2020-05-01T10:00:00.123456789"
        file.attrs["Product_ULcorner_easting"] = 500015.0
        file.attrs["Product_ULcorner_northing"] = 5200985.0
    return path


def test_prisma_is_one_cube_by_wavelength(prisma):
    cube = read_cube(prisma)
    assert reader_of(prisma) == "prisma"
    with open_cube(prisma) as opened:
        assert opened.acquired == "2020-05-01T10:00:00.123456Z"
    assert cube.wavelengths.tolist() == [500, 700, 920, 943, 960, 973, 1500, 2400]
    np.testing.assert_allclose(cube.fwhm, 10 + cube.wavelengths / 1000)
    with h5py.File(prisma) as file:
        fields = file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"]
        vnir, swir = fields["VNIR_Cube"][()], fields["SWIR_Cube"][()]
    stored = [vnir[:, 3], vnir[:, 2], swir[:, 3], vnir[:, 1], swir[:, 2], vnir[:, 0], swir[:, 1],
              swir[:, 0]]  # fmt: skip
    np.testing.assert_array_equal(cube.data, np.stack(stored, axis=2))
    assert cube.data.dtype == np.uint16
    same_by_windows(prisma, cube)


def test_prisma_reflectance_fill_and_errors(prisma):
    cube = read_cube(prisma)
    reflectance = cube.data * cube.gain + cube.offset
    visible, infrared = cube.data[0, 0, 0], cube.data[0, 0, 7]
    assert reflectance[0, 0, 0] == pytest.approx(0.9 * visible / 65535)
    assert reflectance[0, 0, 7] == pytest.approx(-0.1 + 1.2 * infrared / 65535)
    assert cube.nodata == 0
    assert np.argwhere(cube.mask).tolist() == [[3, 6], [4, 5]]
    assert np.flatnonzero(cube.bad_bands).tolist() == [6]


def test_prisma_is_placed_by_the_edge_of_its_corner(prisma):
    cube = read_cube(prisma)
    assert cube.transform == (30, 0, 500000, 0, -30, 5201000)
    assert rasterio.crs.CRS.from_wkt(cube.crs).to_epsg() == 32633


def test_prisma_that_is_damaged_is_one_line(prisma):
    with h5py.File(prisma, "a") as file:
        del file.attrs["L2ScaleSwirMax"]
    with pytest.raises(DataError, match=r"\A[^\n]*L2ScaleSwirMax; take the product again\Z"):
        read_cube(prisma)
    with h5py.File(prisma, "a") as file:
        file.attrs["List_Cw_Vnir"] = VNIR_NM[1:]
    with pytest.raises(DataError, match=r"\[7, 6\] bands, but \[6, 6\] values in List_Cw"):
        read_cube(prisma)


def test_a_part_of_a_product_is_read_by_its_name(prisma):
    cube = read_cube(f"{prisma}:/HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/SWIR_Cube")
    with h5py.File(prisma) as file:
        stored = file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/SWIR_Cube"][()]
    np.testing.assert_array_equal(np.sort(cube.data.ravel()), np.sort(stored.ravel()))


def test_a_product_that_points_to_another_file_is_none(prisma, tmp_path):
    with h5py.File(tmp_path / "link.he5", "w") as file:
        for name in ("VNIR_Cube", "SWIR_Cube"):
            inner = f"/HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/{name}"
            file[inner] = h5py.ExternalLink(str(prisma), inner)
    assert reader_of(tmp_path / "link.he5") == "hdf5"
    with pytest.raises(DataError, match="another file"):
        read_cube(tmp_path / "link.he5")


# --- EMIT ----------------------------------------------------------------------------------------


@pytest.fixture
def emit(tmp_path: Path) -> Path:
    path = tmp_path / "EMIT_L2A_RFL_001_20230901T000000_2324400_001.nc"
    data = RNG.random((LINES, SAMPLES, 6)).astype(np.float32)
    data[2, 3] = -9999
    data[:, :, 4] = -0.01  # as products have it where water absorbs
    with h5py.File(path, "w") as file:
        image = file.create_dataset("reflectance", data=data)
        image.attrs["_FillValue"] = np.array([-9999], np.float32)
        bands = file.create_group("sensor_band_parameters")
        bands["wavelengths"] = np.linspace(381, 2493, 6).astype(np.float32)
        bands["wavelengths"].attrs["units"] = "nm"
        bands["fwhm"] = np.full(6, 8.5, np.float32)
        bands["good_wavelengths"] = np.array([1, 1, 1, 1, 0, 1], np.uint8)
        rows, cols = np.zeros((2, 14, 12), np.int32)
        rows[2:6, 3:8] = np.arange(3, 7)[:, None]  # counted from 1
        cols[2:6, 3:8] = np.arange(5, 10)
        cols[3, 4] *= -1  # taken from the nearest
        file["location/glt_y"], file["location/glt_x"] = rows, cols
        file.attrs["geotransform"] = [10.0, 0.0005, 0.0, 45.0, 0.0, -0.0005]
        file.attrs["spatial_ref"] = rasterio.crs.CRS.from_epsg(4326).to_wkt()
        file.attrs["time_coverage_start"] = "2023-09-01T02:00:00+0200"
    return path


def test_emit(emit):
    cube = read_cube(emit)
    assert reader_of(emit) == "emit"
    np.testing.assert_allclose(cube.wavelengths, np.linspace(381, 2493, 6), rtol=1e-6)
    assert (cube.nodata, cube.fwhm[0]) == (-9999, 8.5)
    assert cube.crs is cube.transform is None
    assert np.flatnonzero(cube.bad_bands).tolist() == [4]
    assert np.argwhere(cube.mask).tolist() == [[2, 3]]
    same_by_windows(emit, cube)


def test_info_tells_of_the_look_up_table(emit):
    with open_cube(emit) as opened:
        told = render_info(describe_cube(opened))
    assert "georeference  a look-up table of 14 x 12 pixels" in told
    assert "acquired      2023-09-01T00:00:00Z" in told


def test_emit_is_put_on_the_ground_block_by_block(emit):
    cube = read_cube(emit)
    with h5py.File(emit) as file:
        rows, cols = (np.abs(file[f"location/glt_{axis}"][()]) for axis in "yx")
    expected = np.full((14, 12), -1.0)
    expected[rows > 0] = cube.data[rows[rows > 0] - 1, cols[rows > 0] - 1, 0]
    with open_cube(emit) as opened:
        glt = opened.glt
        assert glt.shape == (14, 12)
        assert glt.transform == (0.0005, 0, 10, 0, -0.0005, 45)
        assert rasterio.crs.CRS.from_wkt(glt.crs).to_epsg() == 4326
        found = np.full((14, 12), -1.0)
        for row in range(0, 14, 7):
            for col in range(0, 12, 4):
                window = Window(row, col, 7, 4)
                source, at_row, at_col = ortho_window(glt, window, opened.shape[:2])
                if source is None:
                    assert (at_row == -1).all()
                    continue
                values = opened.read(source, [0])[:, :, 0]
                seen = at_row >= 0
                block = np.full((7, 4), -1.0)
                block[seen] = values[at_row[seen], at_col[seen]]
                found[window.slices] = block
                assert (source.height, source.width) == (
                    at_row.max() + 1 - at_row[seen].min(),
                    at_col.max() + 1 - at_col[seen].min(),
                )
    np.testing.assert_array_equal(found, expected)


# --- Tanager, HYPSO, AVIRIS-3 --------------------------------------------------------------------


def tanager(path: Path, kind: str) -> np.ndarray:
    data = RNG.random((6, LINES, SAMPLES)).astype(np.float32)
    data[:, 1, 2] = -9999
    with h5py.File(path, "w") as file:
        image = file.create_dataset(f"HDFEOS/{kind}/HYP/Data Fields/toa_radiance", data=data)
        image.attrs["wavelengths"] = np.linspace(380, 2500, 6)
        image.attrs["fwhm"] = np.full(6, 5.5)
        image.attrs["_FillValue"] = np.float32(-9999)
        file[f"HDFEOS/{kind}/HYP/Data Fields/nodata_pixels"] = np.zeros((LINES, SAMPLES), np.uint8)
        file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(
            "GROUP=GridStructure\n\tGROUP=GRID_1\n\t\tGridName=\"HYP\"\n\t\tXDim=9\n\t\tYDim=11\n"
            "\t\tUpperLeftPointMtrs=(300000.0,4000330.0)\n"
            "\t\tLowerRightMtrs=(300270.000000,4000000.000000)\n"
            "\t\tProjection=HE5_GCTP_UTM\n\t\tZoneCode=-11\n"
        )  # fmt: skip
    return data.transpose(1, 2, 0)


@pytest.mark.parametrize("kind", ["SWATHS", "GRIDS"])
def test_tanager(tmp_path, kind):
    path = tmp_path / "20250101_tanager.h5"
    data = tanager(path, kind)
    cube = read_cube(path)
    assert reader_of(path) == "tanager"
    np.testing.assert_array_equal(cube.data, data)
    assert (cube.nodata, cube.wavelengths[-1], cube.fwhm[0]) == (-9999, 2500, 5.5)
    assert np.argwhere(cube.mask).tolist() == [[1, 2]]
    if kind == "GRIDS":
        assert cube.transform == (30, 0, 300000, 0, -30, 4000330)
        assert rasterio.crs.CRS.from_wkt(cube.crs).to_epsg() == 32711
    else:
        assert cube.crs is cube.transform is None
    same_by_windows(path, cube)


def test_hypso(tmp_path):
    path = tmp_path / "hypso1-l1d.nc"
    data = RNG.random((LINES, SAMPLES, 5))
    with h5py.File(path, "w") as file:
        image = file.create_dataset("products/rhot", data=data)
        image.attrs["wavelengths"] = np.linspace(400, 800, 5)
        image.attrs["fwhm"] = np.full(5, 3.3)
    cube = read_cube(path)
    assert reader_of(path) == "hypso"
    np.testing.assert_array_equal(cube.data, data)
    assert cube.wavelengths.tolist() == [400, 500, 600, 700, 800]
    assert cube.fwhm[0] == 3.3
    same_by_windows(path, cube)


@pytest.mark.parametrize("mapped", [True, False])
def test_aviris3_netcdf(tmp_path, mapped):
    path = tmp_path / "AV320230915t000000_RFL_ORT.nc"
    data = RNG.random((6, LINES, SAMPLES)).astype(np.float32)
    with h5py.File(path, "w") as file:
        image = file.create_dataset("reflectance/reflectance", data=data)
        image.attrs["_FillValue"] = np.float32(-9999)
        image.attrs["grid_mapping"] = "transverse_mercator"
        file["reflectance/wavelength"] = np.linspace(380, 2500, 6)
        file["reflectance/wavelength"].attrs["units"] = "nanometers"
        file["reflectance/fwhm"] = np.full(6, 7.5)
        file["easting"] = 300002.5 + 5 * np.arange(SAMPLES)
        file["northing"] = 4000052.5 - 5 * np.arange(LINES)
        file["transverse_mercator"] = np.bytes_(b"")
        attributes = file["transverse_mercator"].attrs
        attributes["spatial_ref"] = rasterio.crs.CRS.from_epsg(32611).to_wkt()
        if mapped:
            attributes["GeoTransform"] = "300000.0 5.0 -0.0 4000055.0 -0.0 -5.0 "
    cube = read_cube(path)
    assert reader_of(path) == "aviris3"
    np.testing.assert_array_equal(cube.data, data.transpose(1, 2, 0))
    assert cube.transform == pytest.approx((5, 0, 300000, 0, -5, 4000055))
    assert rasterio.crs.CRS.from_wkt(cube.crs).to_epsg() == 32611
    assert (cube.nodata, cube.wavelengths[0], cube.fwhm[0]) == (-9999, 380, 7.5)
    same_by_windows(path, cube)


# --- AVIRIS as ENVI ------------------------------------------------------------------------------


def envi(path: Path, data: np.ndarray, order: str, header: Path, **fields: str) -> None:
    lines, samples, bands = data.shape
    code = {"int16": 2, "float32": 4}[data.dtype.name]
    data.transpose(0, 2, 1).astype(data.dtype.newbyteorder(order)).tofile(path)
    text = "".join(f"{key.replace('_', ' ')} = {value}\n" for key, value in fields.items())
    header.write_text(
        f"ENVI\nsamples = {samples}\nlines = {lines}\nbands = {bands}\ndata type = {code}\n"
        f"interleave = bil\nbyte order = {int(order == '>')}\n{text}"
    )


def test_aviris_classic_and_next_generation(tmp_path):
    data = RNG.integers(0, 9000, (LINES, SAMPLES, 4)).astype(np.int16)
    data[1, 2], data[3, 4] = -50, -9999
    centres = np.array([655.8, 664.6, 655.4, 665.2])  # back where the next spectrometer begins
    listed = "{" + ", ".join(map(str, centres)) + "}"
    classic = tmp_path / "f130410t01p00r10_refl"
    envi(classic, data, ">", tmp_path / "f130410t01p00r10_refl.hdr", wavelength=listed)
    cube = read_cube(classic)
    assert reader_of(classic) == "aviris"
    np.testing.assert_array_equal(cube.data, data)
    np.testing.assert_array_equal(cube.wavelengths, centres)
    assert (cube.nodata, np.argwhere(cube.mask).tolist()) == (-50, [[1, 2]])
    same_by_windows(classic, cube)

    newer = tmp_path / "ang20150422t163638_rfl_v1e_img"
    envi(newer, data.astype(np.float32), "<", Path(f"{newer}.hdr"), wavelength=listed)
    for spec in (newer, Path(f"{newer}.hdr")):
        cube = read_cube(spec)
        assert (cube.nodata, np.argwhere(cube.mask).tolist()) == (-9999, [[3, 4]])
    said = Path(f"{newer}.hdr").read_text() + "data ignore value = -1\n"
    Path(f"{newer}.hdr").write_text(said)
    assert read_cube(newer).nodata == -1


# --- GeoTIFF: EnMAP, DESIS, Wyvern ---------------------------------------------------------------


def tiff(path: Path, data: np.ndarray, **fields: object) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", height=data.shape[0], width=data.shape[1], count=data.shape[2],
        dtype=data.dtype, crs="EPSG:32633", transform=rasterio.Affine(30, 0, 5e5, 0, -30, 5e6),
        **fields,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(data, -1, 0))


@pytest.fixture
def enmap(tmp_path: Path) -> Path:
    stem = "ENMAP01-____L2A-DT0000001-20220601T000000Z_001_V010101_20220602T000000Z-"
    data = RNG.integers(1, 9000, (LINES, SAMPLES, 4)).astype(np.int16)
    data[0, 0], data[:, :, 2] = -32768, -32768
    tiff(tmp_path / f"{stem}SPECTRAL_IMAGE.TIF", data, nodata=-32768)
    mask = np.zeros((LINES, SAMPLES, 4), np.uint8)
    mask[5, 6, 1] = 1
    tiff(tmp_path / f"{stem}QL_PIXELMASK.TIF", mask)
    bands = "".join(
        f'<bandID number="{number}"><wavelengthCenterOfBand>{400 + 100 * number}.25'
        f"</wavelengthCenterOfBand><FWHMOfBand>{6 + number}</FWHMOfBand>"
        f"<GainOfBand>0.0001</GainOfBand><OffsetOfBand>{0.5 if number == 4 else 0}</OffsetOfBand>"
        "</bandID>"
        for number in (2, 1, 3, 4)
    )
    means = "".join(
        f'<bandID number="{number}"><mean>{-1000000 if number == 3 else 0.1}</mean></bandID>'
        for number in range(1, 5)
    )
    (tmp_path / f"{stem}METADATA.XML").write_text(
        '<?xml version="1.0"?><level_X xmlns:xsi="x"><metadata><mission>EnMAP</mission></metadata>'
        "<base><temporalCoverage><startTime>2022-06-01T10:11:12.345Z</startTime></temporalCoverage>"
        "</base>"
        f"<product><bandStatistics>{means}</bandStatistics></product>"
        f"<specific><bandCharacterisation>{bands}</bandCharacterisation></specific></level_X>"
    )
    return tmp_path / f"{stem}SPECTRAL_IMAGE.TIF"


def test_enmap(enmap):
    cube = read_cube(enmap)
    assert reader_of(enmap) == "enmap"
    assert cube.wavelengths.tolist() == [500.25, 600.25, 700.25, 800.25]
    assert cube.fwhm.tolist() == [7, 8, 9, 10]
    assert (cube.gain, cube.offset.tolist()) == (1e-4, [0, 0, 0, 0.5])
    assert np.flatnonzero(cube.bad_bands).tolist() == [2]
    assert np.argwhere(cube.mask).tolist() == [[0, 0], [5, 6]]
    with open_cube(enmap) as opened:
        assert opened.acquired == "2022-06-01T10:11:12.345000Z"
    assert cube.transform == (30, 0, 5e5, 0, -30, 5e6)
    assert {file.name.rpartition("-")[2] for file in cube_files(enmap)} == {
        "SPECTRAL_IMAGE.TIF", "METADATA.XML", "QL_PIXELMASK.TIF",
    }  # fmt: skip
    same_by_windows(enmap, cube)


def test_enmap_that_was_cut_or_damaged(enmap):
    xml = Path(str(enmap).replace("SPECTRAL_IMAGE.TIF", "METADATA.XML"))
    told = xml.read_text()
    xml.write_text(told.replace('<bandID number="4"><wave', '<band number="4"><wave', 1).replace(
        "0.5</OffsetOfBand></bandID>", "0.5</OffsetOfBand></band>"))  # fmt: skip
    with pytest.warns(EdgesrWarning, match=r"METADATA.XML: left out, as it tells of 3 bands"):
        assert read_cube(enmap).wavelengths is None
    xml.write_text(told[:-20])
    with pytest.raises(DataError, match=r"METADATA.XML: cannot be read as the metadata of EnMAP"):
        read_cube(enmap)
    xml.unlink()
    assert reader_of(enmap) == "geotiff"


def test_desis(tmp_path):
    path = tmp_path / "DESIS-HSI-L2A-DT0000000001_001-20200101T000000-V0210-SPECTRAL_IMAGE.tif"
    data = RNG.integers(1, 9000, (LINES, SAMPLES, 4)).astype(np.int16)
    data[1, 1] = -32768
    tiff(path, data, interleave="pixel")
    path.with_suffix(".hdr").write_text(
        f"ENVI\nsamples = {SAMPLES}\nlines = {LINES}\nbands = 4\ndata type = 2\n"
        "interleave = bip\nwavelength units = Nanometers\nwavelength = {401.9, 404.4, 406.9,\n"
        " 409.5}\nfwhm = {3.5, 3.6, 3.7, 3.8}\ndata gain values = {0.0001, 0.0001, 0.0001, 0.0002}"
        "\ndata offset values = {0, 0, 0, 0.1}\n"
    )
    cube = read_cube(path)
    assert reader_of(path) == "desis"
    np.testing.assert_array_equal(cube.data, data)
    assert cube.wavelengths.tolist() == [401.9, 404.4, 406.9, 409.5]
    assert cube.gain.tolist() == [1e-4, 1e-4, 1e-4, 2e-4]
    assert cube.offset.tolist() == [0, 0, 0, 0.1]
    assert (cube.nodata, np.argwhere(cube.mask).tolist()) == (-32768, [[1, 1]])
    assert cube.transform == (30, 0, 5e5, 0, -30, 5e6)
    same_by_windows(path, cube)


def test_wyvern(tmp_path):
    centres = [503, 510, 519, 535, 549]
    path = tmp_path / "wyvern_dragonette-001_20240101T000000_00000000.tiff"
    tiff(path, RNG.random((LINES, SAMPLES, 5)).astype(np.float32))
    with rasterio.open(path, "r+") as file:
        file.descriptions = tuple(f"Band_{centre}" for centre in centres)
    cube = read_cube(path)
    assert cube.wavelengths.tolist() == centres
    same_by_windows(path, cube)


@pytest.mark.parametrize("numbers", [[1, 2, 3], [400, 401, 402], [503, 510, 505], [503, 510, 9000]])
def test_numbers_of_bands_are_no_wavelengths(tmp_path, numbers):
    tiff(tmp_path / "a.tif", RNG.random((LINES, SAMPLES, 3)).astype(np.float32))
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.descriptions = tuple(f"Band_{number}" for number in numbers)
    assert read_cube(tmp_path / "a.tif").wavelengths is None


@pytest.mark.parametrize("name", ["prisma", "emit", "enmap"])
def test_what_is_known_of_a_product_is_written(name, request, tmp_path):
    path = request.getfixturevalue(name)
    cube = read_cube(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_cube(cube, tmp_path / "again.tif")
    again = read_cube(tmp_path / "again.tif")
    np.testing.assert_allclose(again.wavelengths, cube.wavelengths, rtol=1e-9)
    np.testing.assert_array_equal(again.gain, cube.gain)
    np.testing.assert_array_equal(again.offset, cube.offset)
    np.testing.assert_array_equal(again.bad_bands, cube.bad_bands)
    np.testing.assert_array_equal(again.mask, cube.mask)
