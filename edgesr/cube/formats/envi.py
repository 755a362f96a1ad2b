"""ENVI: a header and a data file, whose pixels are memory-mapped."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np

from edgesr.cube.formats._base import Reader, register
from edgesr.cube.formats._envi import (
    Layout,
    begins_header,
    check_layout,
    data_file,
    find_header,
    header_georeference,
    parse_header,
)
from edgesr.cube.formats._gdal import check_mask, side_files
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions
from edgesr.cube.pixels import ArrayPixels, Pixels
from edgesr.cube.reading import reading
from edgesr.cube.scaling import factor_of
from edgesr.cube.spectral import band_names, numbers, spectrum
from edgesr.cube.times import moment
from edgesr.errors import DataError, EdgesrWarning


@register
class Envi(Reader):
    """Reads every interleave and byte order, from the header or the data file.

    Taken from the header: ``wavelength`` with its units, ``fwhm``, ``bbl``, ``data ignore value``,
    ``data gain values``, ``data offset values`` (else those of reflectance), ``reflectance scale
    factor``, ``band names``, ``map info`` and ``coordinate system string``. That a header lies
    beside a file is the weakest sign of all, so this reader is asked last.
    """

    name, title, order = "envi", "ENVI (.hdr)", 200
    advice = "for ENVI, put its .hdr beside it"
    options = ("wavelength_unit",)

    def recognises(self, path: Path, start: bytes) -> bool:
        return begins_header(start) or find_header(path) is not None

    def files(self, path: Path) -> list[Path]:
        found = [path, find_header(path) or path]
        with suppress(DataError):  # whoever reads it will say so
            found.append(data_file(path))
        return found + [side for file in found for side in side_files(file)]

    def open(self, path: Path, wanted: str | None, options: ReadOptions) -> OpenCube:
        pixels = data_file(path)
        header_file = path if pixels != path else find_header(path)
        if header_file is None:
            raise DataError(f"{path}: an ENVI header is no image; name its data file .hdr")
        check_mask(pixels)
        with reading(pixels, "ENVI"):
            header = parse_header(header_file)
            check_layout(header, pixels)
            mapped = _mapped(pixels, Layout.of(header, pixels))
            return described(ArrayPixels(mapped), header, path, options)


def described(pixels: Pixels, header: dict[str, str], path: Path, options: ReadOptions) -> OpenCube:
    """The cube that a header describes."""
    centres, widths = numbers(header.get("wavelength")), numbers(header.get("fwhm"))
    unit = header.get("wavelength units")
    wavelengths, fwhm = spectrum(centres, widths, unit, path, options.wavelength_unit)
    gain, offset = _scaling(header)
    good = numbers(header.get("bbl"))
    nodata = numbers(header.get("data ignore value"))
    names = header.get("band names", "").strip("{}").split(",")
    return OpenCube(
        pixels,
        name=path.stem,
        wavelengths=wavelengths,
        fwhm=fwhm,
        bad_bands=None if good is None else good == 0,
        nodata=None if nodata is None else float(nodata[0]),
        gain=factor_of(gain, 1.0),
        offset=factor_of(offset, 0.0),
        band_names=band_names(names),
        acquired=moment(header.get("acquisition time")),
        source=str(path),
        **header_georeference(header),
    )


def _scaling(header: dict[str, str]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Gain and offset of a header: those of the data, else those that make them reflectance."""
    for kind in ("data", "data reflectance"):
        found = tuple(numbers(header.get(f"{kind} {what} values")) for what in ("gain", "offset"))
        if any(values is not None for values in found):
            return found[0], found[1]
    factor = numbers(header.get("reflectance scale factor"))
    with np.errstate(divide="ignore"):
        return None if factor is None else 1.0 / factor[:1], None


def _mapped(path: Path, layout: Layout) -> np.ndarray:
    """Pixels [H, W, B] of a data file, memory-mapped."""
    expected, received = layout.size, path.stat().st_size
    if received < expected:
        raise DataError(
            f"{path}: truncated: the header describes {expected} bytes, the file has {received}; "
            "copy it again"
        )
    if received > expected:
        warnings.warn(
            f"{path}: the header describes {expected} bytes, the file has {received}; what follows "
            "is left out: check that this is its header",
            EdgesrWarning,
            stacklevel=2,
        )
    return layout.mapped(path)
