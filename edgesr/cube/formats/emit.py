"""EMIT L1B and L2A (NASA): radiance or reflectance on the sensor's own grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgesr.cube.formats._base import register
from edgesr.cube.formats._hdf5 import Hdf5Pixels, Hdf5Product, own_item, own_vector, words
from edgesr.cube.formats._hdf5_attributes import Attributes
from edgesr.cube.formats._numbers import numbers_said
from edgesr.cube.formats._place import gdal_transform, wkt
from edgesr.cube.glt import Glt
from edgesr.cube.opened import OpenCube
from edgesr.cube.spectral import nanometres

_BANDS = "sensor_band_parameters"
_IMAGES = ("reflectance", "radiance")


@register
class Emit(Hdf5Product):
    """Bands that ``good_wavelengths`` leaves out are bad bands.

    The image has no georeference, as its pixels lie where the sensor saw them; ``glt`` says where
    that is.
    """

    name, title, kind = "emit", "EMIT", "an EMIT product"
    signs = tuple((image, f"{_BANDS}/wavelengths") for image in _IMAGES)

    def describe(self, file: Any, path: Path) -> OpenCube:
        image = next(found for name in _IMAGES if (found := own_item(file, name)) is not None)
        good = own_vector(file, f"{_BANDS}/good_wavelengths")
        unit = words(Attributes(own_item(file, f"{_BANDS}/wavelengths")), "units")
        return OpenCube(
            Hdf5Pixels(image, (0, 1, 2), path),
            wavelengths=nanometres(own_vector(file, f"{_BANDS}/wavelengths"), unit),
            fwhm=nanometres(own_vector(file, f"{_BANDS}/fwhm"), unit or "nm"),
            bad_bands=None if good is None else good == 0,
            **numbers_said(Attributes(image), path),
            glt=_glt(file, path),
        )


def _glt(file: Any, path: Path) -> Glt | None:
    cols, rows = own_item(file, "location/glt_x"), own_item(file, "location/glt_y")
    if rows is None or cols is None or rows.ndim != 2 or rows.shape != cols.shape:
        return None
    return Glt(
        Hdf5Pixels(rows, (0, 1, 2), path),
        Hdf5Pixels(cols, (0, 1, 2), path),
        wkt(words(Attributes(file), "spatial_ref") or ""),
        gdal_transform(Attributes(file).get("geotransform")),
    )
