"""What all readers share: clear errors, the choice of a variable, what cannot be, the mask."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesr.cube.cube import PER_BAND, Cube, fits_bands, invalid_values
from edgesr.cube.memory import require_memory
from edgesr.errors import DataError, EdgesrError, EdgesrWarning, root_cause, shown

if TYPE_CHECKING:
    from edgesr.cube.opened import OpenCube

_POSSIBLE: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "wavelengths": ("finite and above 0", lambda values: np.isfinite(values) & (values > 0)),
    "fwhm": ("finite and above 0", lambda values: np.isfinite(values) & (values > 0)),
    "gain": ("finite and not 0", lambda values: np.isfinite(values) & (values != 0)),
    "offset": ("finite", np.isfinite),
    "transform": (
        "finite and of pixels that have a size",
        lambda values: np.isfinite(values).all() & (values[0] * values[4] != values[1] * values[3]),
    ),
}
_MOST_LISTED = 20  # variables of a file that a message names
_MASKED_AT_ONCE = 1 << 29  # bytes; a larger memory-mapped cube is looked at only where it is used


@dataclass(frozen=True)
class Variable:
    """An array in a file that holds several."""

    shape: tuple[int, ...]
    dtype: np.dtype | str

    def __str__(self) -> str:
        return f"{' x '.join(map(str, self.shape))} {self.dtype}"


@contextmanager
def reading(path: Path | str, kind: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into one line that names the file."""
    try:
        yield
    except EdgesrError:
        raise
    except MemoryError as error:
        raise DataError(f"{path}: too little memory to read it; convert it to .npy") from error
    except Exception as error:
        raise DataError(
            f"{path}: cannot be read as {kind} ({root_cause(error)}); it may be truncated or of "
            "another format: copy it again, or check it with the program that wrote it"
        ) from error


def choose_variable(variables: Mapping[str, Variable], wanted: str | None, path: Path) -> str:
    """Name of the cube among the arrays of a file.

    Raises:
        DataError: ``wanted`` is not there or has not three axes; or nothing is wanted and not
            exactly one array has three axes. The message lists what is there.
    """
    listed = [f"{shown(name)} ({variable})" for name, variable in variables.items()]
    more = len(listed) - _MOST_LISTED
    listing = "; ".join(listed[:_MOST_LISTED]) + (f"; and {more} more" if more > 0 else "")
    if wanted is not None:
        name = next((name for name in variables if name.strip("/") == wanted.strip("/")), None)
        if name is None:
            raise DataError(f"{path}: has no variable {wanted!r}; it holds {listing or 'none'}")
        if len(variables[name].shape) != 3:
            raise DataError(
                f"{path}: {shown(name)} has {len(variables[name].shape)} axes "
                f"({variables[name]}), but a cube has three, [height, width, bands]; the file "
                f"holds {listing}"
            )
        return name
    cubes = [name for name, variable in variables.items() if len(variable.shape) == 3]
    if len(cubes) == 1:
        return cubes[0]
    if cubes:
        raise DataError(
            f"{path}: several arrays have three axes; name one, such as {path}:{shown(cubes[0])}; "
            f"the file holds {listing}"
        )
    raise DataError(
        f"{path}: no array has three axes, [height, width, bands]; reshape the cube and save it "
        f"again; the file holds {listing or 'no numeric array'}"
    )


Order = tuple[int, int, int]
"""Which axes of a stored array are height, width and bands."""


def axis_order(shape: tuple[int, ...], lengths: set[int]) -> tuple[Order, bool]:
    """The order of the axes of a stored array, and whether it is no more than assumed.

    The band axis is the one axis whose length is among ``lengths``, those of vectors of
    wavelengths. Where there are several such, or none, it is assumed to be the last of all, or the
    first where that has another length.
    """
    matching = [axis for axis, length in enumerate(shape) if length in lengths]
    bands = 2 if not matching or (len(matching) > 1 and 2 in matching) else matching[0]
    height, width = (axis for axis in range(3) if axis != bands)
    return (height, width, bands), len(matching) != 1


def require_memory_to_read(shape: tuple[int, ...], dtype: np.dtype, path: Path | str) -> None:
    """Refuse an array that does not fit into free memory."""
    require_memory(
        math.prod(map(int, shape)) * np.dtype(dtype).itemsize,
        f"{path}: reading {' x '.join(map(str, shape))} values",
        "convert the cube to .npy, which is read piece by piece, or cut a part out of it",
    )


def without_impossible(cube: OpenCube, path: Path | str) -> OpenCube:
    """The cube without metadata that cannot be, such as a wavelength of NaN or one too many.

    A warning says what was dropped, and why.
    """
    wrong: dict[str, str] = {}
    for what in PER_BAND:
        value = getattr(cube, what)
        if not fits_bands(what, value, cube.bands):
            wrong[what] = f"{len(value)} of them for {cube.bands} bands"
    for what, (needed, possible) in _POSSIBLE.items():
        value = getattr(cube, what)
        if what in wrong or value is None:
            continue
        if not possible(np.asarray(value, dtype=np.float64)).all():
            wrong[what] = f"not {needed}"
    for what, why in wrong.items():
        warnings.warn(
            f"{path}: {what} left out: {why}; correct the metadata", EdgesrWarning, stacklevel=2
        )
    nothing: dict[str, Any] = dict.fromkeys(wrong)
    return replace(cube, **nothing)


def with_nodata_mask(cube: Cube) -> Cube:
    """The cube with its mask, and with the bands that hold no value at all marked bad.

    A pixel is masked when one of its other bands is nodata or not finite. A memory-mapped cube of
    more than 0.5 GB is returned as it is: :meth:`Cube.invalid` looks at the pixels in use.
    """
    lazy = isinstance(cube.data, np.memmap) and cube.data.nbytes > _MASKED_AT_ONCE
    if lazy or not cube.may_hold_nodata:
        return cube
    missing = np.ones(cube.bands, dtype=bool)
    for rows in cube.row_blocks():
        missing &= invalid_values(cube.data[rows], cube.nodata).all(axis=(0, 1))
    if missing.all():
        return replace(cube, mask=np.ones(cube.data.shape[:2], dtype=bool))
    invalid = cube.invalid(np.flatnonzero(~missing))
    bad = cube.bad_bands
    if missing.any():
        bad = missing if bad is None else bad | missing
    return replace(cube, mask=invalid if invalid.any() else None, bad_bands=bad)
