"""AVIRIS (JPL), classic, Next Generation and 3, as ENVI: what its headers leave unsaid."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from edgesr.cube.formats._base import register
from edgesr.cube.formats._envi import begins_header, is_described
from edgesr.cube.formats.envi import Envi
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions

_CLASSIC = re.compile(r"f\d{6}t\d{2}p\d{2}\w*", re.IGNORECASE)
_OTHERS = re.compile(r"(ang|av3)\d{8}t\d{6}\w*", re.IGNORECASE)


@register
class Aviris(Envi):
    """Known by the name of the flight line, ``f130410t01p00r10...`` or ``ang20150422t163638...``.

    Where the header names no nodata, it is -50 for the classic sensor and -9999 for the others.
    Wavelengths stay in the order of the bands, which steps back between the classic sensor's
    spectrometers.
    """

    name, title, order, base = "aviris", "AVIRIS (ENVI)", 1, "envi"
    advice = ""

    def recognises(self, path: Path, start: bytes) -> bool:
        known = _nodata(path) is not None
        return known and (begins_header(start) or is_described(path))

    def open(self, path: Path, wanted: str | None, options: ReadOptions) -> OpenCube:
        cube = super().open(path, wanted, options)
        return cube if cube.nodata is not None else replace(cube, nodata=_nodata(path))


def _nodata(path: Path) -> float | None:
    stem = path.name.partition(".")[0]
    if _CLASSIC.fullmatch(stem):
        return -50.0
    return -9999.0 if _OTHERS.fullmatch(stem) else None
