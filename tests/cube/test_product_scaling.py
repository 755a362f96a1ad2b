"""Numbers that a product packs: scale_factor, add_offset and _FillValue of its image are obeyed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio

from edgesr.cube import read_cube
from edgesr.cube.readers import find_reader
from edgesr.errors import EdgesrWarning

LINES, SAMPLES, BANDS = 5, 4, 6
CENTRES = np.linspace(400, 900, BANDS)
PACKED = np.random.default_rng(0).integers(1, 9000, (LINES, SAMPLES, BANDS)).astype(np.int16)
PACKED[2, 3] = -7
SCALED: dict[str, Any] = {
    "scale_factor": np.float32(0.0005),
    "add_offset": np.array([-0.25]),
    "_FillValue": np.array([-7], np.int16),
}
BY_BAND = {**SCALED, "scale_factor": np.linspace(1e-4, 2e-4, BANDS)}


def _emit(file: h5py.File) -> h5py.Dataset:
    file["sensor_band_parameters/wavelengths"] = CENTRES
    return file.create_dataset("reflectance", data=PACKED)


def _aviris3(file: h5py.File) -> h5py.Dataset:
    file["radiance/wavelength"] = CENTRES
    return file.create_dataset("radiance/radiance", data=PACKED.transpose(2, 0, 1))


def _tanager(file: h5py.File) -> h5py.Dataset:
    name = "HDFEOS/SWATHS/HYP/Data Fields/toa_radiance"
    image = file.create_dataset(name, data=PACKED.transpose(2, 0, 1))
    image.attrs["wavelengths"] = CENTRES
    return image


def _hypso(file: h5py.File) -> h5py.Dataset:
    image = file.create_dataset("products/Lt", data=PACKED)
    image.attrs["wavelengths"] = CENTRES
    return image


def _plain(file: h5py.File) -> h5py.Dataset:
    file["wavelengths"] = CENTRES
    return file.create_dataset("cube", data=PACKED)


MAKERS = {"emit": _emit, "aviris3": _aviris3, "tanager": _tanager, "hypso": _hypso, "hdf5": _plain}


@pytest.mark.parametrize("scaled", [SCALED, BY_BAND], ids=["one", "by_band"])
@pytest.mark.parametrize("kind", MAKERS)
def test_what_the_image_says_of_its_numbers_is_taken(kind, scaled, tmp_path):
    path = tmp_path / "product.nc"
    with h5py.File(path, "w") as file:
        MAKERS[kind](file).attrs.update(scaled)
    assert find_reader(path).name == kind
    cube = read_cube(path)
    np.testing.assert_array_equal(cube.data, PACKED)  # stored numbers stay
    np.testing.assert_allclose(cube.gain, scaled["scale_factor"])
    assert (cube.offset, cube.nodata) == (-0.25, -7)
    assert np.argwhere(cube.mask).tolist() == [[2, 3]]


@pytest.mark.parametrize("kind", MAKERS)
def test_a_product_that_says_nothing_has_no_gain_and_what_is_not_understood_is_told(kind, tmp_path):
    path = tmp_path / "product.nc"
    with h5py.File(path, "w") as file:
        MAKERS[kind](file).attrs["gain"] = 0.5
    with pytest.warns(EdgesrWarning, match="attribute gain left out"):
        cube = read_cube(path)
    assert cube.gain is cube.offset is cube.nodata is None


@pytest.fixture
def prisma(tmp_path: Path) -> Callable[..., Path]:
    """A PRISMA product of two bands each, whose images have these attributes."""

    def make(vnir: dict[str, Any], swir: dict[str, Any]) -> Path:
        path = tmp_path / "PRS_L2D.he5"
        with h5py.File(path, "w") as file:
            fields = file.create_group("HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields")
            for part, centres, about in (("Vnir", [600, 500], vnir), ("Swir", [1600, 1500], swir)):
                packed = np.full((LINES, 2, SAMPLES), 9, np.uint16)
                packed[0, :, 0], packed[1, :, 1] = 0, 3
                image = fields.create_dataset(f"{part.upper()}_Cube", data=packed)
                image.attrs.update(about)
                file.attrs[f"List_Cw_{part}"] = file.attrs[f"List_Fwhm_{part}"] = centres
                file.attrs[f"L2Scale{part}Min"], file.attrs[f"L2Scale{part}Max"] = 0.5, 65535.5
        return path

    return make


def test_prisma_takes_its_scale_where_an_image_says_nothing(prisma):
    path = prisma({"scale_factor": [0.1, 0.2], "_FillValue": 3}, {"_FillValue": 3})
    cube = read_cube(path)
    assert cube.wavelengths.tolist() == [500, 600, 1500, 1600]
    assert cube.gain.tolist() == [0.2, 0.1, 1, 1]
    assert cube.offset.tolist() == [0, 0, 0.5, 0.5]
    assert (cube.nodata, np.argwhere(cube.mask).tolist()) == (3, [[1, 1]])


@pytest.mark.parametrize(
    "fills", [({}, {}), ({"_FillValue": 3}, {}), ({"_FillValue": 3}, {"_FillValue": 4})]
)
def test_prisma_has_nodata_0_where_its_images_do_not_agree_on_another(prisma, fills):
    cube = read_cube(prisma(*fills))
    assert (cube.gain, cube.offset, cube.nodata) == (None, 0.5, 0)
    assert np.argwhere(cube.mask).tolist() == [[0, 0]]


DESIS = "ENVI\nsamples = 4\nlines = 5\nbands = 6\ndata type = 2\ninterleave = bip\n"
ENMAP = (
    "<level_X><mission>EnMAP</mission><specific><bandCharacterisation>{}</bandCharacterisation>"
    "</specific></level_X>"
)


def _tiff(path: Path) -> Path:
    profile = {"driver": "GTiff", "width": SAMPLES, "height": LINES, "count": BANDS}
    with rasterio.open(path, "w", dtype="int16", nodata=-7, **profile) as file:
        file.write(PACKED.transpose(2, 0, 1))
        file.scales, file.offsets = (0.5,) * BANDS, (0.25,) * BANDS
    return path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("said", [False, True])
@pytest.mark.parametrize("kind", ["desis", "enmap", "geotiff"])
def test_a_geotiff_keeps_its_own_scale_where_the_file_beside_it_has_none(kind, said, tmp_path):
    path = _tiff(tmp_path / f"{kind}-SPECTRAL_IMAGE.TIF")
    if kind == "desis":
        gains = "data gain values = {2, 2, 2, 2, 2, 2}\n" if said else ""
        path.with_suffix(".hdr").write_text(DESIS + gains)
    elif kind == "enmap":
        gains = "<GainOfBand>2</GainOfBand>" if said else ""
        bands = "".join(f'<bandID number="{one}">{gains}</bandID>' for one in range(1, 7))
        (tmp_path / "enmap-METADATA.XML").write_text(ENMAP.format(bands))
    cube = read_cube(path)
    assert find_reader(path).name == kind
    beside = said and kind != "geotiff"
    assert (cube.gain, cube.offset) == ((2, None) if beside else (0.5, 0.25))
    assert (cube.nodata, np.argwhere(cube.mask).tolist()) == (-7, [[2, 3]])
