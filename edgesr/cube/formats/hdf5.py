"""HDF5, NetCDF 4 and MATLAB 7.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.cube import Cube
from edgesr.cube.formats._arrays import cube_of
from edgesr.cube.formats._base import Reader, register
from edgesr.cube.reading import Variable, require_memory_to_read
from edgesr.errors import DataError, shown

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
            datasets, elsewhere = _own_storage(file)
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
                if item.chunks:  # one is unpacked whole, however little of it is used
                    require_memory_to_read(item.chunks, item.dtype, path)
                values: np.ndarray = item[()]
                return values.T if is_reversed(item) else values

            def attribute(name: str, keys: tuple[str, ...]) -> Any:
                attributes = datasets[name].attrs
                return next((attributes[key] for key in keys if key in attributes), None)

            variables = {name: Variable(shape(item), item.dtype) for name, item in datasets.items()}
            return cube_of(variables, load, wanted, path, attribute)


def _own_storage(file: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Numeric datasets whose values lie in the file itself, and where those of others lie.

    A virtual dataset is the file's own where all its sources are plain datasets of it: others may
    lead on to another file. No shape is asked for before, as that of a virtual one may depend on
    its sources.
    """
    import h5py

    numeric: dict[str, Any] = {}
    elsewhere: dict[str, str] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf":
            numeric[f"/{name}"] = item

    def collect_link(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            elsewhere[f"/{name}"] = link.filename

    file.visititems(collect)  # follows neither soft nor external links
    file.visititems_links(collect_link)
    plain = {name for name, item in numeric.items() if not (item.external or item.is_virtual)}
    for name in numeric.keys() - plain:
        item = numeric[name]
        files = [one[0] for one in item.external or ()]
        files += [
            one.file_name
            for one in (item.virtual_sources() if item.is_virtual else ())
            if one.file_name != "." or f"/{one.dset_name.strip('/')}" not in plain
        ]
        if files:
            elsewhere[name] = files[0]
    own = {name: item for name, item in numeric.items() if name not in elsewhere and item.ndim > 0}
    return own, elsewhere


def _elsewhere(path: Path, name: str, file: str) -> str:
    return (
        f"{path}: {shown(name)} keeps its values in another file ({file!r}), which is not read;"
        " copy them into this one, such as with h5repack"
    )
