"""AVIRIS-3 (JPL) as netCDF: orthorectified reflectance or radiance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgesr.cube.formats._base import register
from edgesr.cube.formats._hdf5 import Hdf5Pixels, Hdf5Product, own_item, own_vector, words
from edgesr.cube.formats._hdf5_attributes import Attributes
from edgesr.cube.formats._numbers import numbers_said
from edgesr.cube.formats._place import cf_place
from edgesr.cube.opened import OpenCube
from edgesr.cube.spectral import nanometres

_AXES = ("northing", "easting")
_GROUPS = ("reflectance", "radiance")


@register
class Aviris3(Hdf5Product):
    """Stored as wavelength, northing, easting; placed by its grid mapping or its coordinates."""

    name, title, kind = "aviris3", "AVIRIS-3 netCDF", "an AVIRIS-3 product"
    signs = tuple((f"{group}/{group}", f"{group}/wavelength") for group in _GROUPS)

    def describe(self, file: Any, path: Path) -> OpenCube:
        group = next(name for name in _GROUPS if own_item(file, f"{name}/{name}") is not None)
        image, centres = own_item(file, f"{group}/{group}"), own_item(file, f"{group}/wavelength")
        about, unit = Attributes(image), words(Attributes(centres), "units")
        return OpenCube(
            Hdf5Pixels(image, (1, 2, 0), path),
            wavelengths=nanometres(own_vector(file, f"{group}/wavelength"), unit),
            fwhm=nanometres(own_vector(file, f"{group}/fwhm"), unit or "nm"),
            **numbers_said(about, path),
            **_place(file, words(about, "grid_mapping")),
        )


def _place(file: Any, mapping: str | None) -> dict[str, Any]:
    held = [own_item(file, name) for name in (mapping, "transverse_mercator") if name is not None]
    about: Any = next((Attributes(item) for item in held if item is not None), {})
    vectors = {axis: own_vector(file, axis) for axis in _AXES}
    known = {axis: vector for axis, vector in vectors.items() if vector is not None}
    return cf_place({}, about, known, _AXES)
