"""What readers of HDF5 files share: the file's own arrays, and windows of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgesr.cube.cube import Window
from edgesr.cube.formats._base import Reader
from edgesr.cube.formats._hdf5_attributes import (
    Attributes,
    holds_values,
    require_readable_texts,
)
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions
from edgesr.cube.pixels import Pixels, in_ranges
from edgesr.cube.reading import Order, require_memory_to_read
from edgesr.cube.times import moment
from edgesr.errors import DataError, shown

MAGIC = b"\x89HDF\r\n\x1a\n"
USER_BLOCK = 512  # bytes of MATLAB's own before those that tell what it is


def is_hdf5(start: bytes) -> bool:
    """Whether a file is HDF5, by its first 520 bytes."""
    return start.startswith(MAGIC) or start[USER_BLOCK:].startswith(MAGIC)


class Hdf5Pixels(Pixels):
    """Windows of a dataset of three axes, of which ``order`` are height, width and bands.

    One of two axes is an image of one band. Closing it closes its file. h5py lets one thread in at
    a time.
    """

    def __init__(self, dataset: Any, order: Order, path: Path) -> None:
        self._dataset, self._file, self._order = dataset, dataset.file, order
        height, width = (dataset.shape[axis] for axis in order[:2])
        bands = dataset.shape[order[2]] if dataset.ndim == 3 else 1
        self.shape, self.dtype = (height, width, bands), dataset.dtype
        stored = dataset.chunks
        self.chunks = (stored[order[0]], stored[order[1]]) if stored else (1, width)
        if stored:  # one is unpacked whole, however little of it is used
            require_memory_to_read(stored, dataset.dtype, path)

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        rows, cols = window.slices

        if self._dataset.ndim == 2:
            return np.asarray(self._dataset[rows, cols])[:, :, None]

        def read(some: slice) -> np.ndarray:
            by_axis = dict(zip(self._order, (rows, cols, some), strict=True))
            values: np.ndarray = self._dataset[by_axis[0], by_axis[1], by_axis[2]]
            return values.transpose(self._order)

        return in_ranges(read, bands, self.shape[2])

    def close(self) -> None:
        self._file.close()


def load_whole(dataset: Any, path: Path) -> np.ndarray:
    """All values of a dataset, where they fit into free memory."""
    require_memory_to_read(dataset.shape, dataset.dtype, path)
    if dataset.chunks:
        require_memory_to_read(dataset.chunks, dataset.dtype, path)
    values: np.ndarray = dataset[()]
    return values


def own_datasets(file: Any) -> tuple[dict[str, Any], dict[str, str]]:
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


def elsewhere_error(path: Path, name: str, file: str) -> DataError:
    """What is said of a dataset whose values another file keeps."""
    return DataError(
        f"{path}: {shown(name)} keeps its values in another file ({file!r}), which is not read;"
        " copy them into this one, such as with h5repack"
    )


def own_item(file: Any, name: str) -> Any:
    """The group or dataset of a path, where it and its values lie in the file itself; else None."""
    import h5py

    item = file
    for part in name.strip("/").split("/"):
        plain = isinstance(item, h5py.Group) and isinstance(
            item.get(part, getlink=True), h5py.HardLink
        )
        if not plain:
            return None
        item = item[part]
    if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
        return None
    return item


def own_vector(file: Any, name: str) -> np.ndarray | None:
    """The values of a small vector of the file itself, float64, or None."""
    item = own_item(file, name)
    if item is None or not hasattr(item, "shape") or len(item.shape) != 1:
        return None
    if not holds_values(item.id):
        return None
    return load_whole(item, Path(file.filename)).astype(np.float64)


def number(attributes: Any, *names: str) -> float | None:
    """The number in the first of these attributes that there is."""
    values = vector(attributes, *names)
    return None if values is None else float(values[0])


def vector(attributes: Any, *names: str) -> np.ndarray | None:
    """The numbers in the first of these attributes that there is, float64 [N]."""
    for name in names:
        if name in attributes:
            found = np.ravel(np.asarray(attributes[name]))
            if found.dtype.kind in "iufb" and found.size:
                return found.astype(np.float64)
    return None


def words(attributes: Any, name: str) -> str | None:
    """The text of an attribute, or None."""
    found = attributes.get(name)
    found = found.ravel()[0] if isinstance(found, np.ndarray) and found.size == 1 else found
    return (
        found.decode(errors="replace")
        if isinstance(found, bytes)
        else (found if isinstance(found, str) else None)
    )


class Hdf5Product(Reader):
    """A product in HDF5 that is known by what lies in it; :meth:`describe` opens it.

    A variable that is named behind a colon is opened by the format itself.

    Attributes:
        signs: paths in the file; it is this product where all items of one of the tuples are.
        times: attributes of the file, of which one tells when it was acquired.
    """

    order, base = 5, "hdf5"
    signs: ClassVar[tuple[tuple[str, ...], ...]]
    times: ClassVar[tuple[str, ...]] = ("time_coverage_start",)

    def recognises(self, path: Path, start: bytes) -> bool:
        if not is_hdf5(start):
            return False
        import h5py

        with suppress(Exception), h5py.File(path, "r") as file:  # damaged: HDF5 will say how
            return any(
                all(own_item(file, name) is not None for name in all_of) for all_of in self.signs
            )
        return False

    def open(self, path: Path, wanted: str | None, options: ReadOptions) -> OpenCube:
        import h5py

        file = h5py.File(path, "r")
        try:
            require_readable_texts(file, path)
            cube = self.describe(file, path)
            acquired = moment(*(words(Attributes(file), name) for name in self.times))
            return replace(cube, name=path.stem, source=str(path), acquired=acquired)
        except BaseException:
            file.close()
            raise

    @abstractmethod
    def describe(self, file: Any, path: Path) -> OpenCube:
        """The cube of an open file."""
