"""Attributes of HDF5 files, read so that a damaged file does not end or stop the process.

HDF5, up to 2.0, does where the type of a value of variable length is damaged (it reads at a null
pointer, HDFGroup/hdf5 pull request 6385), where the heap that holds such values is (an empty entry
is read again and again), and in its functions for scales of axes.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgesr.errors import DataError

TEXT_SECONDS = 5
"""Of processor time to read the texts of variable length of a file; most take milliseconds."""
WALL_SECONDS = 60
"""The same on the clock, for a disk that is slow or a child that waits for ever."""

_SCALES = "DIMENSION_LIST"  # the attribute of a dataset that refers to the scales of its axes


class Attributes(Mapping[str, Any]):
    """The attributes of a group or dataset that hold numbers or text, as if there were no others.

    References and lists of variable length tell nothing of a cube.
    """

    def __init__(self, item: Any) -> None:
        self._all = item.attrs

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        return self._all[name]

    def __contains__(self, name: object) -> bool:
        return name in self._all and holds_values(self._all.get_id(name))

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._all if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def holds_values(stored: Any) -> bool:
    """Whether an attribute or dataset, by its ``id``, holds numbers or text, or arrays of them."""
    from h5py import h5t

    return _of_each(stored).get_class() in (h5t.INTEGER, h5t.FLOAT, h5t.STRING)


def _of_each(stored: Any) -> Any:
    """The type of each value of an attribute or dataset, arrays and enumerations resolved."""
    from h5py import h5t

    kind = stored.get_type()
    while kind.get_class() in (h5t.ARRAY, h5t.ENUM):
        kind = kind.get_super()
    return kind


def scale_names(dataset: Any) -> list[str | None]:
    """What the scales of a dataset's axes are called, None where one has none."""
    if _SCALES not in dataset.attrs or not _lists_references(dataset.attrs.get_id(_SCALES)):
        return [None] * dataset.ndim
    listed = dataset.attrs[_SCALES]
    names = [dataset.file[some[0]].name if len(some) else None for some in listed]
    return names if len(names) == dataset.ndim else [None] * dataset.ndim


def _lists_references(stored: Any) -> bool:
    """Whether an attribute, by its ``id``, holds a list of references for each of several axes."""
    from h5py import h5t

    kind = stored.get_type()
    sequence = kind.encode()[3] & 0xF == 0  # as the bit field of its class says; 1 is text
    return sequence and len(stored.shape) == 1 and kind.equal(h5t.vlen_create(h5t.STD_REF_OBJ))


def require_readable_texts(file: Any, path: Path) -> None:
    """Refuse a file of which HDF5 does not come to an end with what has a variable length.

    A process of its own reads that before, and nothing else, so that it waits for no other thread.
    Where processes are not forked, or this one may have no children, nothing is checked.

    Args:
        file: open.
        path: of it, for messages.

    Raises:
        DataError: the process did not end well, or not within :data:`TEXT_SECONDS` and
            :data:`WALL_SECONDS`.
    """
    held: list[tuple[Any, str | None]] = []

    def look(_: str, item: Any) -> None:
        names = (name for name in item.attrs if _is_in_heap(item.attrs.get_id(name), name))
        held.extend((item, name) for name in names)
        if is_one_text(item) and _is_in_heap(item.id):
            held.append((item, None))

    look("", file)
    file.visititems(look)
    if not held or sys.platform != "linux" or multiprocessing.current_process().daemon:
        return
    process = multiprocessing.get_context("fork").Process(target=_read_texts, args=(held,))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise DataError(
            f"{path}: damaged where it keeps texts of variable length, which HDF5 cannot finish"
            " reading; copy the file again, or ask for it once more where it came from"
        )


def is_one_text(item: Any) -> bool:
    """Whether an item of a file is a dataset of a single text, which lies in the file itself."""
    import h5py

    is_text = isinstance(item, h5py.Dataset) and _of_each(item.id).get_class() == h5py.h5t.STRING
    return is_text and not (item.external or item.is_virtual) and item.shape in ((), (1,))


def _is_in_heap(stored: Any, name: str | None = None) -> bool:
    """Whether what is read of an attribute or dataset, by its ``id``, has a variable length."""
    from h5py import h5t

    kind = _of_each(stored)
    text = isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()
    return text or (name == _SCALES and _lists_references(stored))


def _read_texts(held: Sequence[tuple[Any, str | None]]) -> None:
    import resource

    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CPU, (TEXT_SECONDS, TEXT_SECONDS))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(WALL_SECONDS)
    for item, name in held:
        with suppress(Exception):  # an error is told where it is read
            item[()] if name is None else item.attrs[name]
