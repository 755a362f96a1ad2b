"""DESIS L2A (DLR): a GeoTIFF beside an ENVI header that tells its bands."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from edgesr.cube.formats import _envi
from edgesr.cube.formats._base import Reader, register
from edgesr.cube.formats._gdal import TIFF_STARTS, side_files
from edgesr.cube.formats.envi import described
from edgesr.cube.formats.geotiff import open_tiff
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions
from edgesr.cube.reading import reading
from edgesr.errors import DataError

_NODATA = -32768.0


@register
class Desis(Reader):
    """``*-SPECTRAL_IMAGE.tif`` with its ``.hdr``: wavelengths, widths, gain and offset of bands."""

    name, title, kind, order, base = "desis", "DESIS", "a DESIS product", 3, "geotiff"
    options = ("wavelength_unit",)

    def recognises(self, path: Path, start: bytes) -> bool:
        named = "spectral_image" in path.name.lower() or path.name.lower().startswith("desis")
        return start.startswith(TIFF_STARTS) and named and _header(path) is not None

    def files(self, path: Path) -> list[Path]:
        return [path, _header(path) or path, *side_files(path)]

    def open(self, path: Path, wanted: str | None, options: ReadOptions) -> OpenCube:
        header = _header(path)
        assert header is not None
        with ExitStack() as undo:
            tiff = undo.enter_context(open_tiff(path, options))
            with reading(header, "ENVI"):
                told = described(tiff.pixels, _envi.parse_header(header), path, options)
            scaled = tiff if told.gain is told.offset is None else told
            nodata = (tiff.nodata, told.nodata, _NODATA)
            cube = replace(
                told,
                crs=tiff.crs,
                transform=tiff.transform,
                gain=scaled.gain,
                offset=scaled.offset,
                quality=tiff.quality,
                nodata=next(value for value in nodata if value is not None),
            )
            undo.pop_all()
        return cube


def _header(path: Path) -> Path | None:
    """The ENVI header beside an image, or None."""
    header = _envi.find_header(path)
    if header is not None:
        with suppress(DataError, OSError):  # no ENVI header
            _envi.parse_header(header)
            return header
    return None
