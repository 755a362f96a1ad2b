"""EnMAP L2A (DLR) as GeoTIFF, with the XML that tells its bands."""

from __future__ import annotations

import re
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from edgesr.cube.formats._base import Reader, register
from edgesr.cube.formats._gdal import TIFF_STARTS, side_files
from edgesr.cube.formats.geotiff import open_tiff
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions
from edgesr.cube.reading import reading
from edgesr.cube.scaling import factor_of
from edgesr.cube.times import moment
from edgesr.errors import DataError, EdgesrWarning

_NAME = re.compile(r"(.*)SPECTRAL_IMAGE(\.tiff?)", re.IGNORECASE)
_LARGEST = 1 << 26  # bytes of XML
_NODATA = -32768.0
_EMPTY = -1_000_000  # mean of a band that holds no value


@register
class EnMap(Reader):
    """``*-SPECTRAL_IMAGE.TIF`` beside its ``*-METADATA.XML``.

    From the XML: wavelengths, widths, gain and offset of each band, and which are empty; those are
    bad bands. ``*-QL_PIXELMASK.TIF`` masks pixels where it lies beside them.
    """

    name, title, kind, order, base = "enmap", "EnMAP", "an EnMAP product", 4, "geotiff"

    def recognises(self, path: Path, start: bytes) -> bool:
        beside = _metadata(path)
        return start.startswith(TIFF_STARTS) and beside is not None and _is_enmap(beside)

    def files(self, path: Path) -> list[Path]:
        found = [path, *(other for other in (_metadata(path), _mask(path)) if other is not None)]
        return found + [side for file in found for side in side_files(file)]

    def open(self, path: Path, wanted: str | None, options: ReadOptions) -> OpenCube:
        xml, mask = _metadata(path), _mask(path)
        assert xml is not None
        with ExitStack() as undo:
            tiff = undo.enter_context(open_tiff(path, options))
            with reading(xml, "the metadata of EnMAP"):
                known = _told(xml, tiff.bands)
            cube = replace(tiff, nodata=_NODATA if tiff.nodata is None else tiff.nodata, **known)
            if mask is not None:
                with reading(mask, "the pixel mask of EnMAP"):
                    quality = undo.enter_context(open_tiff(mask, ReadOptions())).pixels
                    if quality.shape[:2] != cube.shape[:2] or quality.shape[2] not in (
                        1,
                        cube.bands,
                    ):
                        raise DataError(f"{mask}: {quality.shape} is no mask of {cube.shape}")
                cube = replace(cube, quality=quality)
            undo.pop_all()
        return cube


def _metadata(path: Path) -> Path | None:
    return _beside(path, "METADATA", (".XML", ".xml"))


def _mask(path: Path) -> Path | None:
    return _beside(path, "QL_PIXELMASK", (".TIF", ".tif"))


def _beside(path: Path, what: str, suffixes: tuple[str, ...]) -> Path | None:
    """A file of the same product, or None."""
    match = _NAME.fullmatch(path.name)
    names = [] if match is None else [f"{match[1]}{what}{suffix}" for suffix in suffixes]
    return next((file for name in names if (file := path.with_name(name)).is_file()), None)


def _is_enmap(xml: Path) -> bool:
    with xml.open("rb") as file:
        return b"enmap" in file.read(4096).lower()


def _told(xml: Path, bands: int) -> dict[str, Any]:
    """What the XML says of the image and of each band, as fields of a cube."""
    if xml.stat().st_size > _LARGEST:
        raise DataError(f"{xml}: too large for the metadata of EnMAP; take the product again")
    root = ElementTree.parse(xml).getroot()
    acquired = moment(root.findtext(".//{*}temporalCoverage/{*}startTime"))
    told = root.findall(".//{*}specific/{*}bandCharacterisation/{*}bandID")
    told.sort(key=lambda band: int(band.get("number", "0")))
    if len(told) != bands:
        warnings.warn(
            f"{xml}: left out, as it tells of {len(told)} bands and the image has {bands}",
            EdgesrWarning,
            stacklevel=2,
        )
        return {"acquired": acquired}

    def each(name: str) -> np.ndarray | None:
        values = [band.findtext(f"{{*}}{name}") for band in told]
        found = [float(value) for value in values if value is not None]
        return np.array(found) if len(found) == bands else None

    means = {
        int(band.get("number", "0")): float(band.findtext("{*}mean") or 0)
        for band in root.findall(".//{*}product/{*}bandStatistics/{*}bandID")
    }
    empty = np.array([means.get(int(band.get("number", "0"))) == _EMPTY for band in told])
    return {
        "acquired": acquired,
        "wavelengths": each("wavelengthCenterOfBand"),
        "fwhm": each("FWHMOfBand"),
        "bad_bands": empty if empty.any() else None,
        **_scaling(each("GainOfBand"), each("OffsetOfBand")),
    }


def _scaling(gain: np.ndarray | None, offset: np.ndarray | None) -> dict[str, Any]:
    """Gain and offset where the XML has any: else those of the image stay."""
    if gain is offset is None:
        return {}
    return {"gain": factor_of(gain, 1.0), "offset": factor_of(offset, 0.0)}
