"""HDF5, NetCDF 4 and MATLAB 7.3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.cube import Cube
from edgesr.cube.formats._arrays import cube_of
from edgesr.cube.formats._base import Reader, register
from edgesr.cube.reading import Variable, require_memory_to_read
from edgesr.errors import DataError

_MAGIC = b"\x89HDF\r\n\x1a\n"


@register
class Hdf5(Reader):
    """Reads the one dataset of three axes; axes that MATLAB stores in reverse are turned back.

    Nodata comes from the attributes of the dataset, bands from a vector of wavelengths anywhere
    in the file that has the length of one axis.
    """

    name, title, kind, order = "hdf5", "HDF5 (MATLAB 7.3 too)", "HDF5", 10
    suffixes = (".mat", ".h5", ".hdf5", ".he5", ".hdf", ".nc")

    def recognises(self, path: Path, start: bytes) -> bool:
        return start.startswith(_MAGIC) or start[512:].startswith(_MAGIC)

    def read(self, path: Path, wanted: str | None) -> Cube:
        import h5py

        with h5py.File(path, "r") as file:
            datasets: dict[str, Any] = {}

            def collect(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf" and item.ndim > 0:
                    datasets[f"/{name}"] = item

            file.visititems(collect)  # follows neither soft nor external links
            datasets, elsewhere = _own_storage(datasets)
            if wanted is not None and (files := elsewhere.get(f"/{wanted.strip('/')}")):
                raise DataError(_elsewhere(path, wanted, files))
            if elsewhere and not any(len(item.shape) == 3 for item in datasets.values()):
                raise DataError(_elsewhere(path, *next(iter(elsewhere.items()))))
            matlab = path.suffix.lower() == ".mat"

            def is_reversed(item: Any) -> bool:
                return matlab or "MATLAB_class" in item.attrs

            def shape(item: Any) -> tuple[int, ...]:
                return item.shape[::-1] if is_reversed(item) else item.shape

            def load(name: str) -> np.ndarray:
                item = datasets[name]
                require_memory_to_read(item.shape, item.dtype, path)
                values: np.ndarray = item[()]
                return values.T if is_reversed(item) else values

            def attribute(name: str, keys: tuple[str, ...]) -> Any:
                attributes = datasets[name].attrs
                return next((attributes[key] for key in keys if key in attributes), None)

            variables = {name: Variable(shape(item), item.dtype) for name, item in datasets.items()}
            return cube_of(variables, load, wanted, path, attribute)


def _own_storage(datasets: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Datasets whose values lie in the file itself, and the files that the others name."""
    own, elsewhere = {}, {}
    for name, item in datasets.items():
        files = [str(one[0]) for one in item.external or ()]
        if item.is_virtual:
            files += [one.file_name for one in item.virtual_sources() if one.file_name != "."]
        if files:
            elsewhere[name] = files
        else:
            own[name] = item
    return own, elsewhere


def _elsewhere(path: Path, name: str, files: list[str]) -> str:
    return (
        f"{path}: {name} keeps its values in another file ({files[0]!r}), which is not read; copy"
        " them into this one, such as with h5repack"
    )
