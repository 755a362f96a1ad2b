"""``edgesr upscale``: units, georeference, wavelengths and nodata survive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import torch.nn.functional as F

from edgesr.cli.main import main
from edgesr.commands.upscale import upscale, upscale_file
from edgesr.cube import Cube, make_scene, read_cube, write_cube
from edgesr.errors import ModelError
from edgesr.loading.weights import load_network, save_network
from edgesr.models import create_model

FACTORY = "small_networks:bilinear"
CENTRES = np.arange(12) * 10.0 + 400


@pytest.fixture
def low(materials) -> Cube:
    """An LR cube of 20 x 30 with everything known, and four pixels of nodata."""
    data = np.load(materials.cube)[10:30, 5:35].astype(np.int16)
    data[3, 4:8] = -999
    return Cube(
        data,
        "low",
        wavelengths=CENTRES,
        fwhm=np.full(12, 9.5),
        nodata=-999.0,
        crs=rasterio.crs.CRS.from_epsg(32633).to_wkt(),
        transform=(40.0, 0.0, 500_000.0, 0.0, -40.0, 5_800_000.0),
    )


@pytest.mark.parametrize("suffix", [".tif", ".npz", ".hdr"])
def test_metadata_survive(low, materials, workplace, suffix):
    write_cube(low, workplace / f"low{suffix}")
    weights = str(materials.bilinear)
    upscale_file(f"low{suffix}", Path(f"high{suffix}"), weights, factory=FACTORY)
    high = read_cube(f"high{suffix}")
    assert high.shape == (80, 120, 8)
    assert high.wavelengths.tolist() == CENTRES[:8].tolist()
    assert high.fwhm.tolist() == [9.5] * 8
    assert high.nodata == -999
    assert rasterio.crs.CRS.from_user_input(high.crs).to_epsg() == 32633
    assert high.transform == (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_800_000.0)
    expected = np.zeros((80, 120), bool)
    expected[12:16, 16:32] = True
    assert np.array_equal(high.mask, expected)
    assert np.array_equal(np.asarray(high.data == -999).all(axis=2), expected)


def test_numbers_come_back_in_the_units_of_the_cube(low, materials, workplace):
    """The network interpolates linearly; so the native numbers are those of the native cube."""
    loaded = load_network(materials.bilinear, FACTORY)
    plain = Cube(np.load(materials.cube)[10:30, 5:35], "low")
    high = upscale(plain, loaded, tile=64)
    limits = loaded.metadata["data"]["normalisation"]
    native = plain.data[:, :, :8].astype(np.float64).clip(limits["lower"], limits["upper"])
    expected = F.interpolate(
        torch.from_numpy(native.transpose(2, 0, 1).copy())[None], scale_factor=4, mode="bilinear"
    )[0].permute(1, 2, 0)
    assert high.data.dtype == np.float32
    np.testing.assert_allclose(high.data, expected, rtol=1e-5, atol=0.01)
    assert high.mask is None


def test_nodata_does_not_spread_beyond_its_pixels(low, materials, workplace):
    high = upscale(low, load_network(materials.bilinear, FACTORY))
    valid = high.data[~high.invalid()]
    assert np.isfinite(valid).all()
    assert valid.min() > 0
    assert valid.max() <= low.data.max() * 1.01


def test_nan_stays_nan_where_no_number_says_nodata(low, materials, workplace):
    data = low.data.astype(np.float32)
    data[3, 4:8] = np.nan
    high = upscale(Cube(data, "low"), load_network(materials.bilinear, FACTORY))
    assert np.isnan(high.data[12:16, 16:32]).all()
    assert np.isfinite(high.data).sum() == high.data.size - 16 * 4 * 8


def test_a_cube_whose_bands_are_selected_already(low, materials, workplace):
    loaded = load_network(materials.bilinear, FACTORY)
    whole = upscale(low, loaded)
    selected = upscale(low.select_bands(range(8)), loaded)
    assert np.array_equal(whole.data, selected.data)


def test_tiles_equal_one_pass_away_from_the_seams(materials, workplace):
    """VDSR's twenty 3 x 3 convolutions see 20 pixels far, tiles keep 8 around what is used.

    Tiles of 60 start at 0 and 12. The first one alone gives pixels 0-19 and sees what it needs;
    pixels 20-31 come in part from the second, which lacks some of their surroundings; from 32 to
    39 both see all; and the other half mirrors this.
    """
    torch.manual_seed(0)
    network = create_model("vdsr", bands=12, scale=2)
    with torch.no_grad():
        for weight in network.body.parameters():
            weight *= 6**0.5  # keeps the signal alive through 19 rectifiers
        network.upsampler.weight *= 10
    cube = read_cube(materials.cube)
    scene = make_scene(cube, scale=2, patch=16, bands="all")
    save_network(network, workplace / "vdsr.safetensors", data=scene.describe())
    loaded = load_network(workplace / "vdsr.safetensors")
    whole, tiled = upscale(cube, loaded, tile=72).data, upscale(cube, loaded, tile=60).data
    assert whole.shape == (144, 144, 12)
    difference = np.abs(whole - tiled).max(axis=2) / float(whole.max() - whole.min())
    exact = np.r_[0:40, 64:80, 104:144]
    assert difference[np.ix_(exact, exact)].max() < 1e-5
    assert difference[40:64].max() > 1e-4


def test_weights_that_do_not_know_their_units_are_refused(low, workplace):
    save_network(create_model("vdsr", bands=12, scale=2), workplace / "bare.safetensors")
    with pytest.raises(ModelError, match="carry no normalisation"):
        upscale(low, load_network(workplace / "bare.safetensors"))


def test_the_command(low, materials, workplace, capsys):
    write_cube(low, workplace / "low.tif")
    options = ["upscale", "low.tif", "high.tif", "--weights", str(materials.bilinear),
               "--model", FACTORY, "--tile", "25"]  # fmt: skip
    assert main(options) == 0
    with rasterio.open("high.tif") as file:
        assert file.res == (10.0, 10.0)
        assert (file.width, file.height, file.count) == (120, 80, 8)
    assert main(options) == 2
    assert "pass --overwrite" in capsys.readouterr().err
    assert main([*options, "--overwrite"]) == 0
