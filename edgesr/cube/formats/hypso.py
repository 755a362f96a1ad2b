"""HYPSO (NTNU): reflectance at the top of the atmosphere, on the sensor's grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgesr.cube.formats._base import register
from edgesr.cube.formats._hdf5 import Hdf5Pixels, Hdf5Product, own_item, vector
from edgesr.cube.formats._hdf5_attributes import Attributes
from edgesr.cube.formats._numbers import numbers_said
from edgesr.cube.opened import OpenCube

_IMAGES = ("products/rhot", "products/Lt")


@register
class Hypso(Hdf5Product):
    """Stored as lines, samples, bands; wavelengths are attributes of the image."""

    name, title, kind = "hypso", "HYPSO", "a HYPSO product"
    signs = tuple((image,) for image in _IMAGES)

    def describe(self, file: Any, path: Path) -> OpenCube:
        image = next(found for name in _IMAGES if (found := own_item(file, name)) is not None)
        about = Attributes(image)
        return OpenCube(
            Hdf5Pixels(image, (0, 1, 2), path),
            wavelengths=vector(about, "wavelengths"),
            fwhm=vector(about, "fwhm"),
            **numbers_said(about, path),
        )
