"""GeoTIFF, through rasterio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.cube import Cube
from edgesr.cube.formats._base import Reader, register
from edgesr.cube.formats._gdal import TIFF_STARTS, gain, georeference, opened, side_files
from edgesr.cube.reading import require_memory_to_read
from edgesr.cube.spectral import described_wavelength, numbers, unit_factor


@register
class GeoTiff(Reader):
    """Reads into memory: pixels as stored, with nodata, CRS, transform and scale.

    Wavelengths, widths and bad bands come from the band tags (``wavelength``,
    ``wavelength_units``, ``fwhm``, ``bbl``, as EnMAP-Box and GDAL write them, or GDAL's IMAGERY
    domain), else from the band descriptions.
    """

    name, title, kind, order = "geotiff", "GeoTIFF", "a GeoTIFF", 50

    def recognises(self, path: Path, start: bytes) -> bool:
        return start.startswith(TIFF_STARTS)

    def files(self, path: Path) -> list[Path]:
        return [path, *side_files(path)]

    def read(self, path: Path, wanted: str | None) -> Cube:
        with opened(path, "GTiff") as source:
            require_memory_to_read(
                (source.height, source.width, source.count), source.dtypes[0], path
            )
            for block in source.block_shapes:  # one is unpacked whole, however little is used
                require_memory_to_read(block, source.dtypes[0], path)
            data = np.moveaxis(source.read(), 0, -1)
            mask = _stored_mask(source)
            tags = [source.tags(index) for index in source.indexes]
            imagery = [source.tags(index, ns="IMAGERY") for index in source.indexes]
            wavelengths = _from_tags(tags, "wavelength")
            fwhm = _from_tags(tags, "fwhm")
            factor = None
            if wavelengths is not None:
                factor = unit_factor(wavelengths, tags[0].get("wavelength_units"))
            if factor is None:
                wavelengths, fwhm = (
                    _from_tags(imagery, "CENTRAL_WAVELENGTH_UM"),
                    _from_tags(imagery, "FWHM_UM"),
                )
                factor = 1e3
            if wavelengths is None:
                described = [described_wavelength(text) for text in source.descriptions]
                if all(value is not None for value in described):
                    wavelengths, factor = np.array(described, dtype=np.float64), 1.0
            good = _from_tags(tags, "bbl")
            return Cube(
                data=data,
                name=path.stem,
                wavelengths=None if wavelengths is None else wavelengths * factor,
                fwhm=None if fwhm is None else fwhm * factor,
                bad_bands=None if good is None else good == 0,
                mask=mask,
                gain=gain(source),
                source=str(path),
                **georeference(source),
            )


def _stored_mask(source: Any) -> np.ndarray | None:
    """Bool [H, W] of a mask that the file stores beside its pixels, True = nodata; or None."""
    from rasterio.enums import MaskFlags

    if MaskFlags.per_dataset not in source.mask_flag_enums[0]:
        return None
    invalid: np.ndarray = source.read_masks(1) == 0
    return invalid if invalid.any() else None


def _from_tags(tags: list[dict[str, str]], key: str) -> np.ndarray | None:
    """One number per band, float64 [B], or None when a band has none."""
    found = [numbers(tag.get(key)) for tag in tags]
    values = [value[0] for value in found if value is not None]
    return np.array(values) if len(values) == len(tags) else None
