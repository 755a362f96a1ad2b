"""What readers of HDF5 files share: the file's own arrays, and windows of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.cube import Window
from edgesr.cube.opened import Pixels, in_ranges
from edgesr.cube.reading import Order, require_memory_to_read
from edgesr.errors import DataError, shown

MAGIC = b"\x89HDF\r\n\x1a\n"
USER_BLOCK = 512  # bytes of MATLAB's own before those that tell what it is


def is_hdf5(start: bytes) -> bool:
    """Whether a file is HDF5, by its first 520 bytes."""
    return start.startswith(MAGIC) or start[USER_BLOCK:].startswith(MAGIC)


class Hdf5Pixels(Pixels):
    """Windows of a dataset of three axes, of which ``order`` are height, width and bands.

    Closing it closes its file. h5py lets one thread in at a time.
    """

    def __init__(self, dataset: Any, order: Order, path: Path) -> None:
        self._dataset, self._order = dataset, order
        height, width, bands = (dataset.shape[axis] for axis in order)
        self.shape, self.dtype = (height, width, bands), dataset.dtype
        stored = dataset.chunks
        self.chunks = (stored[order[0]], stored[order[1]]) if stored else (1, width)
        if stored:  # one is unpacked whole, however little of it is used
            require_memory_to_read(stored, dataset.dtype, path)

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        rows, cols = window.slices

        def read(some: slice) -> np.ndarray:
            by_axis = dict(zip(self._order, (rows, cols, some), strict=True))
            values: np.ndarray = self._dataset[by_axis[0], by_axis[1], by_axis[2]]
            return values.transpose(self._order)

        return in_ranges(read, bands, self.shape[2])

    def close(self) -> None:
        self._dataset.file.close()


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
