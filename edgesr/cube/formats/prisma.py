"""PRISMA L2D (ASI): surface reflectance on a grid of 30 m, visible and short-wave cube as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.formats._base import register
from edgesr.cube.formats._hdf5 import Hdf5Pixels, Hdf5Product, number, own_item, vector
from edgesr.cube.formats._hdf5_attributes import Attributes
from edgesr.cube.formats._numbers import numbers_said
from edgesr.cube.formats._place import wkt
from edgesr.cube.opened import OpenCube
from edgesr.cube.pixels import Pixels, SelectedPixels
from edgesr.cube.reading import Order
from edgesr.cube.scaling import factor_of, per_band
from edgesr.errors import DataError

_FIELDS = "HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"
_PARTS = ("Vnir", "Swir")
_ORDER: Order = (0, 2, 1)  # stored as line, band, sample
_PIXEL = 30.0  # metres
_LARGEST = 65535  # digital number of the upper end of the scale


@register
class Prisma(Hdf5Product):
    """Bands of both spectrometers by wavelength, without those that are not used (0 nm).

    Reflectance is DN x gain + offset, of each band, by the scale of its spectrometer or, where the
    image has them, by attributes of CF; DN 0 is nodata where these name no other, and so is what
    the error matrix marks. The corner that the file tells is the centre of a pixel.
    """

    name, title, kind = "prisma", "PRISMA L2D", "PRISMA L2D"
    times = ("Product_StartTime",)
    signs = (tuple(f"{_FIELDS}/{part.upper()}_Cube" for part in _PARTS),)

    def describe(self, file: Any, path: Path) -> OpenCube:
        about = Attributes(file)
        cubes = [self._part(file, f"{part.upper()}_Cube", path) for part in _PARTS]
        counts = [cube.shape[2] for cube in cubes]
        wavelengths = _listed(about, "List_Cw", counts, path)
        used = np.flatnonzero(wavelengths > 0)
        order = used[np.argsort(wavelengths[used], kind="stable")]
        said = [
            numbers_said(Attributes(file[f"{_FIELDS}/{part.upper()}_Cube"]), path)
            for part in _PARTS
        ]
        scales = [
            _scaling(one, part, bands, about, path)
            for one, part, bands in zip(said, _PARTS, counts, strict=True)
        ]
        gain, offset = (np.concatenate(parts)[order] for parts in zip(*scales, strict=True))
        fills = {one["nodata"] for one in said}
        errors = [f"{part.upper()}_PIXEL_L2_ERR_MATRIX" for part in _PARTS]
        known = all(own_item(file, f"{_FIELDS}/{name}") is not None for name in errors)
        quality = [self._part(file, name, path) for name in errors] if known else []
        return OpenCube(
            SelectedPixels(cubes, order),
            wavelengths=wavelengths[order],
            fwhm=_listed(about, "List_Fwhm", counts, path)[order],
            nodata=0.0 if None in fills or len(fills) > 1 else fills.pop(),
            gain=factor_of(gain, 1.0),
            offset=factor_of(offset, 0.0),
            quality=SelectedPixels(quality, order) if quality else None,
            **_place(about),
        )

    def _part(self, file: Any, name: str, path: Path) -> Pixels:
        return Hdf5Pixels(file[f"{_FIELDS}/{name}"], _ORDER, path)


def _scaling(
    said: dict[str, Any], part: str, bands: int, about: Any, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Gain and offset of each band of a spectrometer: those that its image names, or its scale."""
    gain, offset = said["gain"], said["offset"]
    if gain is offset is None:
        offset, high = (_needed(about, f"L2Scale{part}{end}", path) for end in ("Min", "Max"))
        gain = (high - offset) / _LARGEST
    return per_band(gain, bands, 1.0), per_band(offset, bands, 0.0)


def _needed(about: Any, name: str, path: Path) -> float:
    value = number(about, name)
    if value is None:
        raise DataError(f"{path}: PRISMA L2D without its attribute {name}; take the product again")
    return value


def _listed(about: Any, name: str, counts: list[int], path: Path) -> np.ndarray:
    """A list of both spectrometers, float64."""
    lists = [vector(about, f"{name}_{part}") for part in _PARTS]
    sizes = [0 if one is None else one.size for one in lists]
    if sizes != counts:
        raise DataError(
            f"{path}: PRISMA L2D with {counts} bands, but {sizes} values in {name}; take the "
            "product again"
        )
    return np.concatenate([one for one in lists if one is not None])


def _place(about: Any) -> dict[str, Any]:
    code, east, north = (
        number(about, name)
        for name in ("Epsg_Code", "Product_ULcorner_easting", "Product_ULcorner_northing")
    )
    if east is None or north is None:
        return {}
    half = _PIXEL / 2
    return {
        "crs": None if code is None else wkt(f"EPSG:{int(code)}"),
        "transform": (_PIXEL, 0.0, east - half, 0.0, -_PIXEL, north + half),
    }
