"""A small picture of an output, for people."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

SIDE = 192
"""Pixels of the longer side."""
DRIVERS = {".tif": "GTiff", ".img": "ENVI"}
"""GDAL's others may read what a file refers to."""
COLOURS = (650.0, 550.0, 460.0)
"""Wavelengths of red, green and blue, in nm."""


def quick_look(path: Path) -> bytes | None:
    """A PNG of a GeoTIFF or ENVI file; None of anything else.

    Its colours are the bands nearest to :data:`COLOURS`, or where wavelengths are unknown three
    bands at equal distances; each is stretched from the 2nd to the 98th percentile. Nodata is
    black.
    """
    driver = DRIVERS.get(path.suffix.lower())
    if driver is None:
        return None
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError
    from rasterio.io import MemoryFile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path.absolute(), driver=driver) as image:
                shrink = max(1.0, max(image.height, image.width) / SIDE)
                shape = [max(1, round(side / shrink)) for side in (image.height, image.width)]
                wavelengths = [image.tags(band).get("wavelength") for band in image.indexes]
                bands = image.read(_bands(wavelengths), out_shape=(3, *shape), masked=True)
            pixels = np.stack([_stretched(band) for band in bands])
            with MemoryFile() as memory:
                with memory.open(
                    driver="PNG", height=shape[0], width=shape[1], count=3, dtype="uint8"
                ) as png:
                    png.write(pixels)
                return bytes(memory.read())
    except (RasterioError, OSError, ValueError):
        return None


def _bands(wavelengths: list[str | None]) -> list[int]:
    """Numbers, from 1, of the bands that are shown as red, green and blue."""
    count = len(wavelengths)
    if None in wavelengths:
        return [1 + (count - 1) * step // 2 for step in (2, 1, 0)]
    known = np.array(wavelengths, dtype=np.float64)
    return [int(np.abs(known - colour).argmin()) + 1 for colour in COLOURS]


def _stretched(band: np.ma.MaskedArray) -> np.ndarray:
    values = np.ma.masked_invalid(band.astype(np.float64))
    valid = values.compressed()
    if not valid.size:
        return np.zeros(band.shape, np.uint8)
    low, high = np.percentile(valid, (2, 98))
    scaled = (values - low) / ((high - low) or 1.0)
    return np.asarray((np.clip(scaled, 0, 1) * 255).filled(0), dtype=np.uint8)
