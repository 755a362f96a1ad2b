"""The COG, read by rasterio and by tifffile."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.crs import CRS

from edgesr.cube import read_cube
from edgesr.cube.control import GroundControl
from edgesr.errors import DataError
from edgesr.scenes.output import check_target
from edgesr.scenes.output.formats import _pyramid, cog

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def assert_cloud_optimized(path: Path) -> None:
    """The rules of GDAL's and rio-cogeo's validators, and that no byte is there for nothing."""
    with tifffile.TiffFile(path) as file:
        pages = list(file.pages)
        assert all(page.is_tiled for page in pages)
        assert [page.subfiletype for page in pages] == [0] + [1] * (len(pages) - 1)
        directories = [page.offset for page in pages]
        assert directories == sorted(directories)
        assert directories[0] < 300
        sizes = [page.imagelength * page.imagewidth for page in pages]
        assert sizes == sorted(sizes, reverse=True)
        assert max(pages[-1].imagelength, pages[-1].imagewidth) <= _pyramid.SMALLEST
        first = [min(page.dataoffsets) for page in pages]
        assert first == sorted(first, reverse=True)
        spans = sorted(
            (offset, offset + size)
            for page in pages
            for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True)
        )
        assert min(size for page in pages for size in page.databytecounts) > 0
        assert spans[0][0] > directories[-1]
        assert all(one[1] + 8 == other[0] for one, other in pairwise(spans))
        assert spans[-1][1] + 4 == path.stat().st_size
    content = path.read_bytes()
    for start, end in spans:  # what the header promises of tiles
        assert int.from_bytes(content[start - 4 : start], "little") == end - start
        assert content[end - 4 : end] == content[end : end + 4]
    with rasterio.open(path) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    try:
        from rio_cogeo import cog_validate
    except ImportError:
        return
    assert cog_validate(path, strict=True) == (True, [], [])


def half(values: np.ndarray, nodata: float | None) -> np.ndarray:
    """Means of up to four pixels, one by one."""
    height, width, bands = values.shape
    result = np.empty(((height + 1) // 2, (width + 1) // 2, bands), values.dtype)
    for row, col, band in np.ndindex(result.shape):
        four = values[2 * row : 2 * row + 2, 2 * col : 2 * col + 2, band].ravel().tolist()
        valid = [v for v in four if v == v and abs(v) != np.inf and v != nodata]
        if not valid:
            result[row, col, band] = np.nan if nodata is None else nodata
        elif values.dtype.kind == "f":
            result[row, col, band] = sum(valid) / len(valid)
        else:
            mean = math.floor(sum(valid) / len(valid) + 0.5)
            result[row, col, band] = mean + 1 if mean == nodata else mean
    return result


@pytest.mark.parametrize("big", [False, True])
def test_the_image_and_all_that_is_known_of_it(scene, tmp_path, monkeypatch, big):
    monkeypatch.setattr(_pyramid, "SMALLEST", 20)
    if big:
        monkeypatch.setattr(cog, "_CLASSIC", 0)
    path = tmp_path / "out.tif"
    check_target(path, scene.meta)
    scene.write(path)
    assert_cloud_optimized(path)
    meta = scene.meta
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff == big
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read().transpose(1, 2, 0), scene.data)
        assert file.dtypes == ("int16",) * 5
        assert file.nodata == -999
        assert file.crs == CRS.from_epsg(32633)
        assert tuple(file.transform)[:6] == meta.transform
        assert file.descriptions == meta.band_names
        assert file.scales == (1e-4,) * 5
        assert file.offsets == (-0.1,) * 5
        profile = file.profile
        assert (profile["interleave"], profile["compress"]) == ("band", "zstd")
        assert file.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"
        assert file.tags().items() >= {**meta.tags, "scale": "4", "source": "scene.tif"}.items()
        assert file.tags(3) == {
            "wavelength": "650", "wavelength_units": "Nanometers", "fwhm": "11", "bbl": "0",
            "gain": "0.0001", "offset": "-0.1", "interpolated": "0",
        }  # fmt: skip
        assert file.tags(5, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "1.65", "FWHM_UM": "0.02"}
        assert file.tags(5)["interpolated"] == "1"
        assert file.overviews(1) == [2, 4]
    expected = scene.data
    for level in (0, 1):
        expected = half(expected, -999)
        with rasterio.open(path, overview_level=level) as file:
            np.testing.assert_array_equal(file.read().transpose(1, 2, 0), expected)
            assert file.nodata == -999
    cube = read_cube(path)
    np.testing.assert_array_equal(cube.data, scene.data)
    for name in ("wavelengths", "fwhm", "bad_bands"):
        np.testing.assert_array_equal(getattr(cube, name), getattr(meta, name))


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", None), ("uint8", 0), ("uint16", 65535), ("int16", None), ("uint32", None),
        ("int32", -9999), ("float32", None), ("float32", -9999), ("float32", np.nan),
        ("float64", None),
    ],
)  # fmt: skip
def test_every_type(make_scene, tmp_path, monkeypatch, dtype, nodata):
    monkeypatch.setattr(_pyramid, "SMALLEST", 20)
    scene = make_scene(33, 47, 2, dtype, nodata=nodata)
    scene.data[5:20, 7:29, 0] = 0 if nodata is None else nodata
    if dtype.startswith("float"):
        scene.data[21, 30:34] = np.nan, np.inf
    path = tmp_path / "out.tif"
    check_target(path, scene.meta)
    scene.write(path)
    assert_cloud_optimized(path)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read().transpose(1, 2, 0), scene.data)
        assert file.nodata == nodata or (np.isnan(nodata) and np.isnan(file.nodata))
        assert file.crs is None
        assert file.descriptions == ("band 1", "band 2")
    with rasterio.open(path, overview_level=0) as file:
        np.testing.assert_allclose(
            file.read().transpose(1, 2, 0), half(scene.data, nodata), rtol=1e-6
        )


def test_a_mean_that_is_the_nodata_number_stays_valid(make_scene, tmp_path, monkeypatch):
    monkeypatch.setattr(_pyramid, "SMALLEST", 16)
    scene = make_scene(20, 20, 1, "int16", nodata=0)
    scene.data[:2, :2, 0] = [[-5, 5], [-1, 1]]
    scene.write(tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif", overview_level=0) as file:
        assert file.read(1, masked=True)[0, 0] == 1


@pytest.mark.parametrize(
    "transform",
    [(7.5, 2.0, 5e5, 2.0, -7.5, 5e6), (5.0, 5.0, 100.0, 5.0, -5.0, 200.0), (2.0, 0, 0, 0, 2.0, 0)],
)
def test_rotated_transforms(scene, tmp_path, transform):
    path = tmp_path / "out.tif"
    scene.but(transform=transform).write(path)
    with rasterio.open(path) as file:
        assert tuple(file.transform)[:6] == transform


def test_ground_control_and_rational_polynomials(scene, tmp_path):
    points = tuple(
        GroundControl(row, col, 12 + col / 1e3 + row / 1e4, 45 - row / 1e3, 100.0)
        for row in (0, 20.5, 41)
        for col in (0, 70)
    )
    rpcs = {f"{way}_{axis}": "1" for way in ("LINE", "SAMP") for axis in ("OFF", "SCALE")}
    rpcs |= {
        f"{axis}_{what}": "2" for axis in ("LAT", "LONG", "HEIGHT") for what in ("OFF", "SCALE")
    }
    rpcs |= {
        f"{way}_{part}_COEFF": " ".join(["1"] + ["0.5"] * 19)
        for way in ("LINE", "SAMP")
        for part in ("NUM", "DEN")
    }
    path = tmp_path / "out.tif"
    scene = scene.but(
        transform=None,
        crs=CRS.from_epsg(4326).to_wkt(),
        gcps=points,
        rpcs={**rpcs, "ERR_BIAS": "0"},
    )
    check_target(path, scene.meta)
    scene.write(path)
    with rasterio.open(path) as file:
        found, crs = file.gcps
        assert crs == CRS.from_epsg(4326)
        assert [(p.row, p.col, p.x, p.y, p.z) for p in found] == [
            (p.row, p.col, p.x, p.y, p.z) for p in points
        ]
        assert file.rpcs.line_num_coeff == [1] + [0.5] * 19
        assert file.rpcs.lat_off == 2


def test_a_crs_that_is_none_is_refused(scene, tmp_path):
    for suffix in (".tif", ".img"):
        with pytest.raises(DataError, match="the crs cannot be written"):
            check_target(tmp_path / f"out{suffix}", scene.but(crs="no crs at all").meta)


def test_many_bands_and_one_block(make_scene, tmp_path):
    scene = make_scene(9, 7, 211, "uint16")
    scene.write(tmp_path / "out.tif")
    assert_cloud_optimized(tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as file:
        np.testing.assert_array_equal(file.read().transpose(1, 2, 0), scene.data)
        assert file.overviews(1) == []
