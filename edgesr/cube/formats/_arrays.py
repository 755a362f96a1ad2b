"""What readers of files share that hold several arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions
from edgesr.cube.pixels import ArrayPixels, Pixels
from edgesr.cube.reading import Order, Variable, axis_order, choose_variable
from edgesr.cube.scaling import factor_of
from edgesr.cube.spectral import (
    is_bad_band_name,
    is_fwhm_name,
    is_wavelength_name,
    nanometres,
    unit_factor,
)

_NODATA_ATTRIBUTES = ("Data_Ignore_Value", "_FillValue", "missing_value", "nodata")


def open_arrays(
    variables: Mapping[str, Variable],
    load: Callable[[str], np.ndarray],
    wanted: str | None,
    path: Path,
    options: ReadOptions,
    *,
    attribute: Callable[[str, tuple[str, ...]], Any] = lambda name, keys: None,
    pixels: Callable[[str, Order], Pixels] | None = None,
) -> OpenCube:
    """The cube among the arrays of a file, with the bands that vectors beside it tell of.

    Args:
        variables: the numeric arrays of the file.
        load: returns one of them.
        wanted: name of the cube; None where only one array has three axes.
        path: the file.
        options: what the user knows better.
        attribute: returns the first attribute of a variable that is called as one of some names.
        pixels: those of a variable, with its axes in this order; by default it is loaded.

    Raises:
        DataError: not exactly one array can be meant; the message lists what the file holds.
    """
    name = choose_variable(variables, wanted, path)
    shape = variables[name].shape

    def vectors(says: Callable[[str], bool]) -> dict[str, np.ndarray]:
        """Vectors that are called so and have the length of an axis of the cube."""
        return {
            other: load(other).ravel()
            for other, variable in variables.items()
            if says(other) and max(variable.shape, default=0) == np.prod(variable.shape)
            and max(variable.shape, default=0) in shape
        }  # fmt: skip

    centres = vectors(is_wavelength_name)
    order, assumed = axis_order(shape, {vector.size for vector in centres.values()})
    if options.order is not None:
        order, assumed = options.order, False

    def of_bands(found: Mapping[str, np.ndarray]) -> tuple[str, np.ndarray] | tuple[None, None]:
        for other, values in found.items():
            if values.size == shape[order[2]]:
                return other, values.astype(np.float64)
        return None, None

    centre_name, wavelengths = of_bands(centres)
    factor = None
    if centre_name is not None and wavelengths is not None:
        unit = attribute(centre_name, ("Units", "units", "unit"))
        unit = unit.decode() if isinstance(unit, bytes) else unit
        factor = unit_factor(wavelengths, options.wavelength_unit or unit)
    fwhm = of_bands(vectors(is_fwhm_name))[1]
    good = of_bands(vectors(is_bad_band_name))[1]
    nodata = attribute(name, _NODATA_ATTRIBUTES)
    found = ArrayPixels(load(name).transpose(order)) if pixels is None else pixels(name, order)
    return OpenCube(
        found,
        name=path.stem,
        wavelengths=None if wavelengths is None or factor is None else wavelengths * factor,
        fwhm=None if fwhm is None else nanometres(fwhm, "nm" if factor in (None, 1.0) else "um"),
        bad_bands=None if good is None else good == 0,
        nodata=None if nodata is None else float(np.ravel(nodata)[0]),
        gain=factor_of(attribute(name, ("scale_factor",)), 1.0),
        offset=factor_of(attribute(name, ("add_offset",)), 0.0),
        source=f"{path}:{name}",
        axes_assumed=assumed,
    )


def is_numeric(array: np.ndarray | Variable) -> bool:
    """Whether values of an array are numbers, of which there may be several."""
    return np.dtype(array.dtype).kind in "iufb" and len(array.shape) > 0
