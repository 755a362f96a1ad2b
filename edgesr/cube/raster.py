"""ENVI and GeoTIFF, through rasterio."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.cube import Cube
from edgesr.cube.reading import reading, require_memory_to_read
from edgesr.cube.spectral import described_wavelength, nanometres, numbers, unit_factor
from edgesr.errors import DataError

_DATA_SUFFIXES = ("", ".img", ".raw", ".dat", ".bsq", ".bil", ".bip", ".bin", ".cube", ".sli")
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def read_geotiff(path: Path) -> Cube:
    """Read a GeoTIFF into memory: pixels as stored, with nodata, CRS, transform and scale.

    Wavelengths, widths and bad bands come from the band tags (``wavelength``,
    ``wavelength_units``, ``fwhm``, ``bbl``, as EnMAP-Box and GDAL write them, or GDAL's IMAGERY
    domain), else from the band descriptions.
    """
    with reading(path, "a GeoTIFF"), _opened(path, "GTiff") as source:
        require_memory_to_read((source.height, source.width, source.count), source.dtypes[0], path)
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
            gain=_gain(source),
            source=str(path),
            **_georeference(source),
        )


def read_envi(path: Path) -> Cube:
    """Read an ENVI file, memory-mapped: every interleave and byte order.

    ``path`` is the header or the data file. Taken from the header: ``wavelength`` with its units,
    ``fwhm``, ``bbl``, ``data ignore value``, ``map info`` and ``coordinate system string``.

    Raises:
        DataError: header or data file is missing, or the data file is shorter than the header says.
    """
    pixels = envi_data_file(path)
    with reading(pixels, "ENVI"), _opened(pixels, "ENVI") as source:
        header = source.tags(ns="ENVI")
        shape = (source.height, source.width, source.count)
        wavelengths = numbers(header.get("wavelength"))
        units = header.get("wavelength_units")
        factor = None if wavelengths is None else unit_factor(wavelengths, units)
        fwhm = numbers(header.get("fwhm"))
        good = numbers(header.get("bbl"))
        return Cube(
            data=_mapped(pixels, header, shape, np.dtype(source.dtypes[0])),
            name=path.stem,
            wavelengths=nanometres(wavelengths, units),
            fwhm=None if fwhm is None or factor is None else fwhm * factor,
            bad_bands=None if good is None else good == 0,
            gain=_gain(source),
            source=str(path),
            **_georeference(source),
        )


def envi_header(path: Path) -> Path | None:
    """The ENVI header that belongs to a data file, or None."""
    for candidate in (path.with_suffix(".hdr"), path.with_name(path.name + ".hdr")):
        if candidate.is_file() and candidate != path:
            return candidate
    return None


def envi_data_file(path: Path) -> Path:
    """The data file of an ENVI header; a data file is returned as it is."""
    if path.suffix.lower() != ".hdr":
        return path
    stem = path.with_suffix("")
    for suffix in _DATA_SUFFIXES:
        for candidate in (Path(f"{stem}{suffix}"), Path(f"{stem}{suffix.upper()}")):
            if candidate.is_file():
                return candidate
    raise DataError(
        f"{path}: the data file of this ENVI header is missing; put it beside the header with the "
        f"same name, such as {stem.name}.img"
    )


def _mapped(
    path: Path, header: dict[str, str], shape: tuple[int, int, int], dtype: np.dtype
) -> np.ndarray:
    """Pixels [H, W, B] of an uncompressed ENVI data file, memory-mapped, read-only."""
    height, width, bands = shape
    if header.get("file_compression", "0") != "0":
        raise DataError(f"{path}: compressed ENVI files cannot be read; save it uncompressed")
    interleave = header.get("interleave", "bsq").lower()
    stored, axes = {
        "bsq": ((bands, height, width), (1, 2, 0)),
        "bil": ((height, bands, width), (0, 2, 1)),
        "bip": ((height, width, bands), (0, 1, 2)),
    }[interleave]
    offset = int(header.get("header_offset", "0"))
    expected = offset + height * width * bands * dtype.itemsize
    received = path.stat().st_size
    if received < expected:
        raise DataError(
            f"{path}: truncated: the header describes {expected} bytes, the file has {received}; "
            "copy it again"
        )
    big_endian = header.get("byte_order", "0").strip() == "1"
    stored_type = dtype.newbyteorder(">" if big_endian else "<")
    return np.memmap(path, stored_type, mode="r", offset=offset, shape=stored).transpose(axes)


@contextmanager
def _opened(path: Path, driver: str) -> Iterator[Any]:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, driver=driver) as source:
            yield source


def _georeference(source: Any) -> dict[str, Any]:
    transform = tuple(source.transform)[:6]
    known = source.crs is not None or transform != _IDENTITY
    return {
        "crs": None if source.crs is None else source.crs.to_wkt(),
        "transform": transform if known else None,
        "nodata": None if source.nodata is None else float(source.nodata),
    }


def _stored_mask(source: Any) -> np.ndarray | None:
    """Bool [H, W] of a mask that the file stores beside its pixels, True = nodata; or None."""
    from rasterio.enums import MaskFlags

    if MaskFlags.per_dataset not in source.mask_flag_enums[0]:
        return None
    invalid: np.ndarray = source.read_masks(1) == 0
    return invalid if invalid.any() else None


def _gain(source: Any) -> float | None:
    gains = set(source.scales)
    return float(gains.pop()) if len(gains) == 1 and gains != {1.0} else None


def _from_tags(tags: list[dict[str, str]], key: str) -> np.ndarray | None:
    """One number per band, float64 [B], or None when a band has none."""
    found = [numbers(tag.get(key)) for tag in tags]
    values = [value[0] for value in found if value is not None]
    return np.array(values) if len(values) == len(tags) else None
