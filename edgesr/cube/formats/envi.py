"""ENVI: a header and a data file, whose pixels are memory-mapped."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import numpy as np

from edgesr.cube.formats._base import Reader, register
from edgesr.cube.formats._envi import (
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
from edgesr.cube.scaling import Factor, factor_of
from edgesr.cube.spectral import band_names, numbers, unit_factor
from edgesr.cube.times import moment
from edgesr.errors import DataError

_TYPES = {
    "1": "u1", "2": "i2", "3": "i4", "4": "f4", "5": "f8", "12": "u2", "13": "u4", "14": "i8",
    "15": "u8",
}  # fmt: skip


@register
class Envi(Reader):
    """Reads every interleave and byte order, from the header or the data file.

    Taken from the header: ``wavelength`` with its units, ``fwhm``, ``bbl``, ``data ignore value``,
    ``data gain values``, ``data offset values``, ``reflectance scale factor``, ``band names``,
    ``map info`` and ``coordinate system string``. That a header lies beside a file is the weakest
    sign of all, so this reader is asked last.
    """

    name, title, order = "envi", "ENVI (.hdr)", 200
    advice = "for ENVI, put its .hdr beside it"
    options = ("wavelength_unit",)

    def recognises(self, path: Path, start: bytes) -> bool:
        return start.lstrip().startswith(b"ENVI") or find_header(path) is not None

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
            mapped = _mapped(pixels, header)
            return described(ArrayPixels(mapped), header, path, options)


def described(pixels: Pixels, header: dict[str, str], path: Path, options: ReadOptions) -> OpenCube:
    """The cube that a header describes."""
    wavelengths, fwhm = numbers(header.get("wavelength")), numbers(header.get("fwhm"))
    factor = None
    if wavelengths is not None:
        units = header.get("wavelength units")
        factor = unit_factor(wavelengths, units, path, options.wavelength_unit)
    good = numbers(header.get("bbl"))
    nodata = numbers(header.get("data ignore value"))
    names = header.get("band names", "").strip("{}").split(",")
    return OpenCube(
        pixels,
        name=path.stem,
        wavelengths=None if wavelengths is None or factor is None else wavelengths * factor,
        fwhm=None if fwhm is None or factor is None else fwhm * factor,
        bad_bands=None if good is None else good == 0,
        nodata=None if nodata is None else float(nodata[0]),
        gain=_gain(header),
        offset=factor_of(numbers(header.get("data offset values")), 0.0),
        band_names=band_names(names),
        acquired=moment(header.get("acquisition time")),
        source=str(path),
        **header_georeference(header),
    )


def _gain(header: dict[str, str]) -> Factor | None:
    gains = numbers(header.get("data gain values"))
    if gains is None and (factor := numbers(header.get("reflectance scale factor"))) is not None:
        with np.errstate(divide="ignore"):
            gains = 1.0 / factor[:1]
    return factor_of(gains, 1.0)


def is_described(path: Path) -> bool:
    """Whether a header beside a file describes it to the byte: it is no other format, then."""
    header = find_header(path)
    if header is None:
        return False
    with suppress(Exception):  # a damaged header describes nothing
        return _size(parse_header(header)) == path.stat().st_size
    return False


def _size(header: dict[str, str]) -> int:
    """Bytes of a data file."""
    values = math.prod(int(header[key]) for key in ("lines", "samples", "bands"))
    size = np.dtype(_TYPES[header["data type"]]).itemsize
    return int(header.get("header offset", "0")) + values * size


def _mapped(path: Path, header: dict[str, str]) -> np.ndarray:
    """Pixels [H, W, B] of an uncompressed ENVI data file, memory-mapped, read-only."""
    height, width, bands = (int(header[key]) for key in ("lines", "samples", "bands"))
    check_layout(header, path)
    interleave = header.get("interleave", "bsq").lower()
    stored, axes = {
        "bsq": ((bands, height, width), (1, 2, 0)),
        "bil": ((height, bands, width), (0, 2, 1)),
        "bip": ((height, width, bands), (0, 1, 2)),
    }[interleave]
    code = header["data type"]
    if code not in _TYPES:
        raise DataError(f"{path}: values of ENVI's data type {code} are not real numbers")
    big_endian = header.get("byte order", "0") == "1"
    dtype = np.dtype(_TYPES[code]).newbyteorder(">" if big_endian else "<")
    expected, received = _size(header), path.stat().st_size
    if received < expected:
        raise DataError(
            f"{path}: truncated: the header describes {expected} bytes, the file has {received}; "
            "copy it again"
        )
    return np.memmap(
        path, dtype, mode="r", offset=int(header.get("header offset", "0")), shape=stored
    ).transpose(axes)
