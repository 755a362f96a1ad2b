"""What readers of files share that hold several arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.cube import Cube
from edgesr.cube.reading import Variable, bands_last, choose_variable
from edgesr.cube.spectral import (
    is_bad_band_name,
    is_fwhm_name,
    is_wavelength_name,
    nanometres,
    unit_factor,
)

_NODATA_ATTRIBUTES = ("Data_Ignore_Value", "_FillValue", "missing_value", "nodata")


def cube_of(
    variables: Mapping[str, Variable],
    load: Callable[[str], np.ndarray],
    wanted: str | None,
    path: Path,
    attribute: Callable[[str, tuple[str, ...]], Any] = lambda name, keys: None,
) -> Cube:
    """The cube among the arrays of a file, with the bands that vectors beside it tell of.

    Args:
        variables: the numeric arrays of the file.
        load: returns one of them.
        wanted: name of the cube; None where only one array has three axes.
        path: the file.
        attribute: returns the first attribute of a variable that is called as one of some names.

    Raises:
        DataError: not exactly one array can be meant; the message lists what the file holds.
    """
    name = choose_variable(variables, wanted, path)
    data = load(name)

    def vectors(says: Callable[[str], bool]) -> dict[str, np.ndarray]:
        """Vectors that are called so and have the length of an axis of the cube."""
        return {
            other: load(other).ravel()
            for other, variable in variables.items()
            if says(other) and max(variable.shape, default=0) == np.prod(variable.shape)
            and max(variable.shape, default=0) in data.shape
        }  # fmt: skip

    centres = vectors(is_wavelength_name)
    data = bands_last(data, centres)

    def of_bands(found: Mapping[str, np.ndarray]) -> tuple[str, np.ndarray] | tuple[None, None]:
        for other, values in found.items():
            if values.size == data.shape[-1]:
                return other, values.astype(np.float64)
        return None, None

    centre_name, wavelengths = of_bands(centres)
    factor = None
    if centre_name is not None and wavelengths is not None:
        unit = attribute(centre_name, ("Units", "units", "unit"))
        factor = unit_factor(wavelengths, unit.decode() if isinstance(unit, bytes) else unit)
    fwhm = of_bands(vectors(is_fwhm_name))[1]
    good = of_bands(vectors(is_bad_band_name))[1]
    nodata = attribute(name, _NODATA_ATTRIBUTES)
    gain = attribute(name, ("scale_factor",))
    return Cube(
        data=data,
        name=path.stem,
        wavelengths=None if wavelengths is None or factor is None else wavelengths * factor,
        fwhm=None if fwhm is None else nanometres(fwhm, "nm" if factor in (None, 1.0) else "um"),
        bad_bands=None if good is None else good == 0,
        nodata=None if nodata is None else float(np.ravel(nodata)[0]),
        gain=None if gain is None else float(np.ravel(gain)[0]),
        source=f"{path}:{name}",
    )


def is_numeric(array: np.ndarray | Variable) -> bool:
    """Whether values of an array are numbers, of which there may be several."""
    return np.dtype(array.dtype).kind in "iufb" and len(array.shape) > 0
