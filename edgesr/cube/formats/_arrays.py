"""What readers of files share that hold several arrays: which is the cube, and what is its axis."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.formats._numbers import attribute_numbers, attribute_texts, numbers_said
from edgesr.cube.formats._place import cf_place
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions
from edgesr.cube.pixels import ArrayPixels, Pixels
from edgesr.cube.reading import Order, Variable, axis_order, choose_variable
from edgesr.cube.spectral import (
    band_names,
    has_wavelength_unit,
    is_bad_band_name,
    is_band_axis,
    is_fwhm_name,
    is_wavelength_name,
    spectrum,
)
from edgesr.errors import EdgesrWarning, shown

_UNITS = ("Units", "units", "unit")
_BAND_NAMES = ("band_names", "Band_Names", "band names")


@dataclass(frozen=True)
class Arrays:
    """The numeric arrays of a file, by name.

    Attributes:
        path: the file.
        variables: shape and type of each.
        load: returns one of them.
        pixels: those of a cube, its axes in this order; by default it is loaded.
        attributes: of a variable or group by its name, that of the whole file being empty; none for
            what there is not.
        axis_names: what the axes of a variable are called, None where one has no name.
    """

    path: Path
    variables: Mapping[str, Variable]
    load: Callable[[str], np.ndarray]
    pixels: Callable[[str, Order], Pixels] | None = None
    attributes: Callable[[str], Mapping[str, Any]] = lambda name: {}
    axis_names: Callable[[str], Sequence[str | None]] = lambda name: (None, None, None)

    def open(self, wanted: str | None, options: ReadOptions) -> OpenCube:
        """The cube among them, with the bands that vectors and attributes beside it tell of.

        Args:
            wanted: name of the cube; None where only one array has three axes.
            options: what the user knows better.

        Raises:
            DataError: not exactly one array can be meant; the message lists what the file holds.
        """
        name = choose_variable(self.variables, wanted, self.path)
        shape, about = self.variables[name].shape, self.attributes(name)
        centres = self._beside(name, is_wavelength_name, is_axis=True)
        order, assumed = self._order(name, shape, centres, options)
        bands = shape[order[2]]
        centre = _of_bands(centres, bands)
        width = _of_bands(self._beside(name, is_fwhm_name), bands)
        good = _of_bands(self._beside(name, is_bad_band_name), bands)
        self._tell_of_others(name, bands)
        wavelengths, fwhm = spectrum(
            None if centre is None else centre.values,
            None if width is None else width.values,
            None if centre is None else centre.unit,
            self.path,
            options.wavelength_unit,
            None if width is None else width.unit,
        )
        if self.pixels is None:
            pixels: Pixels = ArrayPixels(self.load(name).transpose(order))
        else:
            pixels = self.pixels(name, order)
        return OpenCube(
            pixels,
            name=self.path.stem,
            wavelengths=wavelengths,
            fwhm=fwhm,
            bad_bands=None if good is None else good.values == 0,
            band_names=_names(_first(about, _BAND_NAMES)),
            source=f"{self.path}:{name}",
            axes_assumed=assumed,
            **numbers_said(about, self.path),
            **self._place(name, order),
        )

    def _order(
        self, name: str, shape: tuple[int, ...], centres: Sequence[_Vector], options: ReadOptions
    ) -> tuple[Order, bool]:
        if options.order is not None:
            return options.order, False
        named = [axis for axis, what in enumerate(self.axis_names(name)) if is_band_axis(what)]
        if len(named) == 1:
            height, width = (axis for axis in range(3) if axis != named[0])
            return (height, width, named[0]), False
        words = _words(name)
        shared = [len(words & _words(centre.name)) for centre in centres]
        nearest = [one for one, many in zip(centres, shared, strict=True) if many == max(shared)]
        return axis_order(shape, {centre.values.size for centre in nearest})

    def _beside(
        self, name: str, says: Callable[[str], bool], *, is_axis: bool = False
    ) -> list[_Vector]:
        """Vectors that are called so and have the length of an axis of the cube.

        Those whose names have most in common with the cube's come first, then variables before
        attributes.
        """
        lengths = self.variables[name].shape
        words = _words(name)
        found = [
            one
            for one in [*self._variables(says, lengths, is_axis), *self._attributes(name, says)]
            if one.values.size in lengths
        ]
        return sorted(found, key=lambda one: -len(words & _words(one.name)))

    def _variables(
        self, says: Callable[[str], bool], lengths: tuple[int, ...], is_axis: bool
    ) -> Iterator[_Vector]:
        for other, variable in self._vectors():
            unit = _text(_first(self.attributes(other), _UNITS))
            in_units = is_axis and has_wavelength_unit(unit) and not is_fwhm_name(other)
            if max(variable.shape) in lengths and (says(other) or in_units):
                yield _Vector(other, self.load(other).ravel().astype(np.float64), unit)

    def _vectors(self) -> Iterator[tuple[str, Variable]]:
        """Variables that have one axis, those of length 1 aside."""
        for name, variable in self.variables.items():
            size = max(variable.shape, default=0)
            if size > 1 and size == np.prod(variable.shape):
                yield name, variable

    def _tell_of_others(self, name: str, bands: int) -> None:
        """Say which lists of bands are left out, as they have another length; none has this one."""
        for says in (is_wavelength_name, is_fwhm_name, is_bad_band_name):
            sizes = {one: max(vector.shape) for one, vector in self._vectors() if says(one)}
            sizes |= {one.name: one.values.size for one in self._attributes(name, says)}
            if sizes and bands not in sizes.values():
                listed = ", ".join(f"{shown(one)} ({size})" for one, size in sizes.items())
                self._warn(f"{listed} left out: of another length than the {bands} bands")

    def _warn(self, what: str) -> None:
        warnings.warn(f"{self.path}: {what}; correct the metadata", EdgesrWarning, stacklevel=2)

    def _attributes(self, name: str, says: Callable[[str], bool]) -> Iterator[_Vector]:
        for holder in _upwards(name):
            about = self.attributes(holder)
            for key in about:
                values = attribute_numbers(about[key]) if says(key) else None
                if values is not None and values.size > 1:
                    yield _Vector(
                        key, values, _text(_first(about, [f"{key}_{unit}" for unit in _UNITS]))
                    )

    def _place(self, name: str, order: Order) -> dict[str, Any]:
        """Coordinate system and transform, by the conventions of CF and GeoZarr."""
        folders = [folder for folder in _upwards(name) if folder != name]
        about = dict(self.attributes(name))
        for folder in folders:
            about = {**self.attributes(folder), **about}

        def beside(other: str | None) -> str | None:
            names = [f"{folder}/{other}" for folder in folders] if other else []
            return next((one for one in names if one in self.variables), None)

        mapping = _text(about.get("grid_mapping"))
        held = [self.attributes(f"{folder}/{mapping}") for folder in folders] if mapping else []
        axes = [self.axis_names(name)[axis] for axis in order[:2]]
        y, x = (beside((axis or "").split("/")[-1]) for axis in axes)
        vectors = {
            one.split("/")[-1]: self.load(one).astype(np.float64)
            for one in (y, x)
            if one is not None and len(self.variables[one].shape) == 1
        }
        return cf_place(about, next((one for one in held if one), {}), vectors, axes)


@dataclass(frozen=True)
class _Vector:
    """A number for each index of an axis: its name, the numbers, and their unit."""

    name: str
    values: np.ndarray
    unit: str | None


def _upwards(name: str) -> list[str]:
    """A variable, the group that it is in, and so on to the whole file."""
    parts = name.strip("/").split("/")
    groups = ["/" + "/".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]
    return [name, *groups, ""]


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", name.split("/")[-1].lower())) - {""}


def _first(about: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((about[name] for name in names if name in about), None)


def _text(value: Any) -> str | None:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else None


def _of_bands(vectors: Sequence[_Vector], bands: int) -> _Vector | None:
    return next((one for one in vectors if one.values.size == bands), None)


def _names(value: Any) -> tuple[str, ...] | None:
    """Names of bands, where a value is a list of texts."""
    found = np.ravel(np.asarray([] if value is None else value))
    several = found.size > 1 and found.dtype.kind in "OSU"
    return band_names(attribute_texts(found)) if several else None


def is_numeric(array: np.ndarray | Variable) -> bool:
    """Whether values of an array are numbers, of which there may be several."""
    return np.dtype(array.dtype).kind in "iufb" and len(array.shape) > 0
