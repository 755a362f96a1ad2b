"""GeoTIFF, through rasterio."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.formats._base import Reader, register
from edgesr.cube.formats._gdal import (
    TIFF_STARTS,
    RasterPixels,
    careful,
    georeference,
    open_raster,
    side_files,
    stored_mask,
)
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions
from edgesr.cube.scaling import factor_of
from edgesr.cube.spectral import (
    band_names,
    described_wavelengths,
    numbers,
    spectrum,
)
from edgesr.cube.times import moment
from edgesr.errors import EdgesrWarning


@register
class GeoTiff(Reader):
    """Reads windows: pixels as stored, with nodata, mask, CRS, transform, gain and offset.

    Wavelengths, widths and bad bands come from the band tags (``wavelength``,
    ``wavelength_units``, ``fwhm``, ``bbl``, as EnMAP-Box and GDAL write them, or GDAL's IMAGERY
    domain), or lists of these names among the tags of the file, or of its domain ENVI, else from
    the band descriptions, such as Wyvern's ``Band_503``.
    """

    name, title, kind, order = "geotiff", "GeoTIFF", "a GeoTIFF", 50
    options = ("wavelength_unit",)

    def recognises(self, path: Path, start: bytes) -> bool:
        return start.startswith(TIFF_STARTS)

    def files(self, path: Path) -> list[Path]:
        return [path, *side_files(path)]

    def open(self, path: Path, wanted: str | None, options: ReadOptions) -> OpenCube:
        return open_tiff(path, options)


def open_tiff(place: Path | str, options: ReadOptions) -> OpenCube:
    """The cube of a GeoTIFF, as itself describes it; or of its address for GDAL."""
    source = open_raster(place, "GTiff")
    try:
        with careful(place):
            return _described(source, place, options)
    except BaseException:
        source.close()
        raise


def _described(source: Any, place: Path | str, options: ReadOptions) -> OpenCube:
    pixels = RasterPixels(source, place)
    tags = _band_tags(source)
    wavelengths, fwhm = _spectrum(source, tags, options.wavelength_unit, place)
    good = _from_tags(tags, "bbl", place)
    return OpenCube(
        pixels,
        name=Path(place).stem,
        wavelengths=wavelengths,
        fwhm=fwhm,
        bad_bands=None if good is None else good == 0,
        quality=stored_mask(source, pixels),
        gain=factor_of(source.scales, 1.0),
        offset=factor_of(source.offsets, 0.0),
        source=str(place),
        band_names=band_names(source.descriptions),
        acquired=moment(
            source.tags().get("datetime"), source.tags(ns="IMAGERY").get("ACQUISITIONDATETIME")
        ),
        **georeference(source),
    )


def _spectrum(
    source: Any, tags: list[dict[str, str]], unit: str | None, place: Path | str
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Wavelengths and widths [B] in nanometres, each None where it is not known.

    A ``unit`` of the user's is that of the band tags.
    """
    centres, widths = _from_tags(tags, "wavelength", place), _from_tags(tags, "fwhm", place)
    wavelengths, fwhm = spectrum(centres, widths, tags[0].get("wavelength_units"), place, unit)
    if wavelengths is None:
        imagery = [source.tags(index, ns="IMAGERY") for index in source.indexes]
        centres = _from_tags(imagery, "CENTRAL_WAVELENGTH_UM", place)
        if centres is not None:
            return spectrum(centres, _from_tags(imagery, "FWHM_UM", place), "um", place)
        wavelengths = described_wavelengths(source.descriptions)
    return wavelengths, fwhm


def _band_tags(source: Any) -> list[dict[str, str]]:
    """Tags of each band; what none has is taken from lists among those of the whole file."""
    tags = [source.tags(index) for index in source.indexes]
    for about in (source.tags(ns="ENVI"), source.tags()):
        unit = about.get("wavelength_units")
        for key in ("wavelength", "fwhm", "bbl"):
            listed = numbers(about.get(key))
            if listed is None or listed.size != len(tags) or any(key in tag for tag in tags):
                continue
            for tag, value in zip(tags, listed, strict=True):
                tag[key] = repr(float(value))
                if unit is not None:
                    tag.setdefault("wavelength_units", unit)
    return tags


def _from_tags(tags: list[dict[str, str]], key: str, place: Path | str) -> np.ndarray | None:
    """One number per band, float64 [B]; None where bands have none, which is said of a part."""
    found = [numbers(tag.get(key)) for tag in tags]
    values = [value[0] for value in found if value is not None]
    if 0 < len(values) < len(tags):
        warnings.warn(
            f"{place}: {key.lower()} left out: {len(values)} of {len(tags)} bands have one; "
            "correct the metadata",
            EdgesrWarning,
            stacklevel=2,
        )
    return np.array(values) if len(values) == len(tags) else None
