"""ENVI: a header and a data file. The header through rasterio, the pixels memory-mapped."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from edgesr.cube.cube import Cube
from edgesr.cube.formats._base import Reader, register
from edgesr.cube.formats._gdal import gain, georeference, opened, side_files
from edgesr.cube.reading import reading
from edgesr.cube.spectral import nanometres, numbers, unit_factor
from edgesr.errors import DataError

_DATA_SUFFIXES = ("", ".img", ".raw", ".dat", ".bsq", ".bil", ".bip", ".bin", ".cube", ".sli")


@register
class Envi(Reader):
    """Reads every interleave and byte order, from the header or the data file.

    Taken from the header: ``wavelength`` with its units, ``fwhm``, ``bbl``, ``data ignore value``,
    ``map info`` and ``coordinate system string``. That a header lies beside a file is the weakest
    sign of all, so this reader is asked last.
    """

    name, title, order = "envi", "ENVI (.hdr)", 200
    advice = "for ENVI, put its .hdr beside it"

    def recognises(self, path: Path, start: bytes) -> bool:
        return start.lstrip().startswith(b"ENVI") or _header(path) is not None

    def files(self, path: Path) -> list[Path]:
        found = [path, _header(path) or path]
        with suppress(DataError):  # whoever reads it will say so
            found.append(_data_file(path))
        return found + [side for file in found for side in side_files(file)]

    def read(self, path: Path, wanted: str | None) -> Cube:
        pixels = _data_file(path)
        with reading(pixels, "ENVI"), opened(pixels, "ENVI") as source:
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
                gain=gain(source),
                source=str(path),
                **georeference(source),
            )


def _header(path: Path) -> Path | None:
    """The ENVI header that belongs to a data file, or None."""
    for candidate in (path.with_suffix(".hdr"), path.with_name(path.name + ".hdr")):
        if candidate.is_file() and candidate != path:
            return candidate
    return None


def _data_file(path: Path) -> Path:
    """The data file of an ENVI header; a data file is returned as it is.

    Raises:
        DataError: it is missing.
    """
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
