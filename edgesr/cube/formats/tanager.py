"""Tanager (Planet): reflectance or radiance, on the sensor's grid or orthorectified."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.formats._base import register
from edgesr.cube.formats._hdf5 import Hdf5Pixels, Hdf5Product, own_item, vector
from edgesr.cube.formats._hdf5_attributes import Attributes, is_one_text
from edgesr.cube.formats._numbers import numbers_said
from edgesr.cube.formats._place import wkt
from edgesr.cube.opened import OpenCube

_KINDS = ("GRIDS", "SWATHS")
_IMAGES = ("surface_reflectance", "toa_radiance")
_STRUCTURE = "HDFEOS INFORMATION/StructMetadata.0"
_LONGEST = 1 << 20  # characters of that


def _paths(kind: str) -> list[str]:
    return [f"HDFEOS/{kind}/HYP/Data Fields/{image}" for image in _IMAGES]


@register
class Tanager(Hdf5Product):
    """Stored as band, row, column. Of a file that has both, reflectance is read.

    Orthorectified images are placed by the corners in ``StructMetadata.0``.
    """

    name, title, kind = "tanager", "Tanager", "a Tanager product"
    signs = tuple((path,) for kind in _KINDS for path in _paths(kind))

    def describe(self, file: Any, path: Path) -> OpenCube:
        names = [name for kind in _KINDS for name in _paths(kind)]
        found = next(name for name in names if own_item(file, name) is not None)
        image = own_item(file, found)
        pixels = Hdf5Pixels(image, (1, 2, 0), path)
        about = Attributes(image)
        good = vector(about, "good_wavelengths")
        return OpenCube(
            pixels,
            wavelengths=vector(about, "wavelengths"),
            fwhm=vector(about, "fwhm"),
            bad_bands=None if good is None else good == 0,
            **numbers_said(about, path),
            **(_place(file, *pixels.shape[:2]) if "/GRIDS/" in found else {}),
        )


def _place(file: Any, height: int, width: int) -> dict[str, Any]:
    item = own_item(file, _STRUCTURE)
    if not is_one_text(item):
        return {}
    text = np.ravel(item[()])[0]
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    corners = [_pair(text, name) for name in ("UpperLeftPointMtrs", "LowerRightMtrs")]
    zone = re.search(r"ZoneCode=(-?\d+)", text[:_LONGEST])
    if None in corners:
        return {}
    (left, top), (right, bottom) = (corner for corner in corners if corner is not None)
    north = zone is None or int(zone[1]) > 0
    code = None if zone is None else (32600 if north else 32700) + abs(int(zone[1]))
    steps = np.array([(right - left) / width, (bottom - top) / height])
    return {
        "crs": None if code is None else wkt(f"EPSG:{code}"),
        "transform": (float(steps[0]), 0.0, left, 0.0, float(steps[1]), top),
    }


def _pair(text: str, name: str) -> tuple[float, float] | None:
    found = re.search(rf"{name}=\(([-+.\deE]+),([-+.\deE]+)\)", text[:_LONGEST])
    return None if found is None else (float(found[1]), float(found[2]))
