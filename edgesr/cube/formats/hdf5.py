"""HDF5, NetCDF 4 and MATLAB 7.3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.formats._arrays import Arrays
from edgesr.cube.formats._base import Reader, register
from edgesr.cube.formats._hdf5 import (
    USER_BLOCK,
    Hdf5Pixels,
    elsewhere_error,
    is_hdf5,
    load_whole,
    own_datasets,
    own_item,
)
from edgesr.cube.formats._hdf5_attributes import Attributes, require_readable_texts, scale_names
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions
from edgesr.cube.pixels import Pixels
from edgesr.cube.reading import Order, Variable

_HIDDEN = ("#refs#", "#subsystem#")  # where MATLAB keeps what cells and objects refer to


@register
class Hdf5(Reader):
    """Reads windows of the one dataset of three axes; MATLAB's axes, in reverse, are turned back.

    Nodata, gain and offset come from the attributes of the dataset, bands from a vector of
    wavelengths anywhere in the file, or in an attribute of the dataset and what it is in, that has
    the length of one axis; the place from the conventions of CF.
    """

    name, title, kind, order = "hdf5", "HDF5 (MATLAB 7.3 too)", "HDF5", 10
    suffixes = (".mat", ".h5", ".hdf5", ".he5", ".hdf", ".nc")
    options = ("axes", "wavelength_unit")

    def recognises(self, path: Path, start: bytes) -> bool:
        return is_hdf5(start)

    def open(self, path: Path, wanted: str | None, options: ReadOptions) -> OpenCube:
        import h5py

        file = h5py.File(path, "r")
        try:
            require_readable_texts(file, path)
            return _opened(file, path, wanted, options)
        except BaseException:
            file.close()
            raise


def _opened(file: Any, path: Path, wanted: str | None, options: ReadOptions) -> OpenCube:
    datasets, elsewhere = own_datasets(file)
    if wanted is not None and (other := elsewhere.get(f"/{wanted.strip('/')}")):
        raise elsewhere_error(path, wanted, other)
    if elsewhere and not any(len(item.shape) == 3 for item in datasets.values()):
        raise elsewhere_error(path, *next(iter(elsewhere.items())))
    if not (wanted or "").strip("/").startswith(_HIDDEN):
        shown = {name: item for name, item in datasets.items() if name.split("/")[1] not in _HIDDEN}
        datasets = shown if any(item.ndim == 3 for item in shown.values()) else datasets
    matlab = _is_matlab(file, path)

    def is_reversed(item: Any) -> bool:
        return matlab or "MATLAB_class" in item.attrs

    def shape(item: Any) -> tuple[int, ...]:
        return item.shape[::-1] if is_reversed(item) else item.shape

    def load(name: str) -> np.ndarray:
        values = load_whole(datasets[name], path)
        return values.T if is_reversed(datasets[name]) else values

    def pixels(name: str, order: Order) -> Pixels:
        item = datasets[name]
        height, width, bands = (2 - axis if is_reversed(item) else axis for axis in order)
        return Hdf5Pixels(item, (height, width, bands), path)

    def attributes(name: str) -> Mapping[str, Any]:
        item = own_item(file, name) if name else file
        return {} if item is None else Attributes(item)

    def axis_names(name: str) -> list[str | None]:
        names = scale_names(datasets[name])
        return names[::-1] if is_reversed(datasets[name]) else names

    variables = {name: Variable(shape(item), item.dtype) for name, item in datasets.items()}
    return Arrays(path, variables, load, pixels, attributes, axis_names).open(wanted, options)


def _is_matlab(file: Any, path: Path) -> bool:
    """Whether MATLAB wrote a file: its axes are in reverse."""
    if file.userblock_size < USER_BLOCK:
        return False
    with path.open("rb") as start:
        return start.read(6) == b"MATLAB"
