"""Pictures as text in a page: a thousand grey values, differences between bands, deflated."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

from edgesr.report.pictures import LEVELS, Pictures


def encode(pictures: Pictures) -> dict[str, Any]:
    """Plain values from which the page's script rebuilds the pictures.

    ``images`` maps names to base64 of a zlib stream. It holds B x H x W unsigned 16-bit numbers,
    all low bytes and then all high bytes; each is the zigzag code (0, -1, 1, -2, ... as 0, 1, 2,
    3, ...) of a band's difference from the band before, in steps of 1 / ``levels``.
    """
    bands, height, width = pictures.shape
    return {
        "bands": bands,
        "height": height,
        "width": width,
        "levels": LEVELS,
        "wavelengths": pictures.wavelengths,
        "origin": pictures.origin,
        "names": list(pictures.images),
        "images": {name: _packed(pictures.quantised(name)) for name in pictures.images},
    }


def _packed(image: np.ndarray) -> str:
    difference = image.astype(np.int32)
    difference[1:] -= image[:-1]
    code = ((difference << 1) ^ (difference >> 31)).astype(np.uint16)
    planes = (code & 255).astype(np.uint8).tobytes() + (code >> 8).astype(np.uint8).tobytes()
    return base64.b64encode(zlib.compress(planes, 6)).decode("ascii")
