"""Generated cubes: bands correlate, and none is constant."""

from __future__ import annotations

import numpy as np
import pytest

from edgesr.cube.cube import Cube


def generated(height: int, width: int, bands: int, seed: int = 0, dtype: str = "uint16"):
    """Digital numbers 100 to 4000: one smooth image under a slowly changing spectrum."""
    rng = np.random.default_rng(seed)
    rows, cols = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    image = np.sin(rows / 7.0) * np.cos(cols / 5.0) + 0.5 * rng.standard_normal((height, width))
    image = (image - image.min()) / (image.max() - image.min())
    spectrum = 0.5 + 0.5 * np.linspace(0.2, 1.0, bands)
    data = 100 + 3900 * image[:, :, None] * spectrum
    return (data + rng.uniform(0, 20, data.shape)).clip(0, 4000).astype(dtype)


@pytest.fixture
def make_cube():
    """Factory of generated cubes: ``make_cube(height, width, bands, **fields of Cube)``."""

    def make(height: int = 96, width: int = 96, bands: int = 6, *, dtype: str = "uint16", **fields):
        return Cube(generated(height, width, bands, dtype=dtype), **{"name": "made", **fields})

    return make


@pytest.fixture
def full_cube(make_cube):
    """A small cube with every piece of metadata."""
    import rasterio

    mask = np.zeros((20, 30), dtype=bool)
    mask[3, 4] = True
    cube = make_cube(
        20, 30, 5, dtype="int16",
        wavelengths=np.array([400.5, 510.25, 620.0, 730.125, 2100.0]),
        fwhm=np.array([5.5, 6.0, 6.5, 7.25, 10.0]),
        bad_bands=np.array([False, True, False, False, True]),
        nodata=-32768.0, mask=mask, crs=rasterio.crs.CRS.from_epsg(32633).to_wkt(),
        transform=(30.0, 0.0, 366015.0, 0.0, -30.0, 5809965.0), source="generated", gain=0.0001,
    )  # fmt: skip
    cube.data[3, 4] = -32768
    return cube
