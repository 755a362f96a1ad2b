"""ENVI data files whose first pixels spell the mark of another format."""

from __future__ import annotations

from pathlib import Path

from edgesr.cube.formats._base import register
from edgesr.cube.formats._envi import is_described
from edgesr.cube.formats.envi import Envi


@register
class EnviDescribed(Envi):
    """A file that is exactly as long as the ENVI header beside it says, whatever it begins with."""

    name, title, order, base = "envi_described", "ENVI (.hdr)", 2, "envi"
    advice = ""

    def recognises(self, path: Path, start: bytes) -> bool:
        return is_described(path)
