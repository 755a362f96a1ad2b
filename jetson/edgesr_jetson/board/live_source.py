"""Where live data come from: a file of lines or tiles, or a pipe of lines, in native numbers."""

from __future__ import annotations

import os
import select
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from .errors import BoardError

LAYOUTS = ("bil", "bip", "bsq")

_STDIN = 0
_POLL_MS = 100
"""How often a pipe that gives nothing is left to see whether the program is to end."""

_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_VIEWS = {"bil": (1, 0, 2), "bip": (2, 0, 1)}  # lines [n, *line] as [C, n, W]


@dataclass(frozen=True)
class Shape:
    """What the user or a file says of the data.

    Attributes:
        known: numbers of bands that can be used; the first is that of raw data.
        width: samples of a raw line.
        dtype: of raw numbers.
        layout: one of :data:`LAYOUTS`.
        bands: of raw data, where they have another of the known numbers.
    """

    known: Sequence[int]
    width: int | None = None
    dtype: str | None = None
    layout: str | None = None
    bands: int | None = None


class Source:
    """Items that come one after the other: lines, or tiles [C, h, W].

    Attributes:
        name: as the user gave it.
        bands: C, all of them.
        width: W.
        height: lines of an item.
        is_tiles: items are independent tiles.
        is_pipe: data come at their own pace.
        dtype: of the numbers, in the byte order that they come in.
        item: shape of an item as it lies in memory.
        waited: seconds in which there was nothing to read.
    """

    is_pipe = False

    def __init__(
        self, name: str, dtype: np.dtype[Any], bands: int, width: int, height: int, layout: str
    ) -> None:
        self.name, self.dtype = name, dtype
        self.bands, self.width, self.height = bands, width, height
        self.is_tiles = layout == "tiles"
        self.waited = 0.0
        self._layout = layout
        shapes = {"bip": (width, bands), "tiles": (bands, height, width)}
        self.item: tuple[int, ...] = shapes.get(layout, (bands, width))

    def read(self, item: np.ndarray, is_stopping: Callable[[], bool]) -> bool:
        """Fill ``item``; False where there is nothing more, or the program is to end.

        Raises:
            BoardError: the source broke off.
        """
        raise NotImplementedError

    def view(self, items: np.ndarray) -> np.ndarray:
        """Items [n, *item] as [C, lines, W], without a copy."""
        return items[0] if self.is_tiles else items.transpose(_VIEWS[self._layout])

    def close(self) -> None:
        """Give back what was opened."""


class ArraySource(Source):
    """Items of an array in memory or on disk, [n, *item]; bands may be the first axis of lines."""

    def __init__(self, name: str, data: np.ndarray, layout: str) -> None:
        axes = {"bil": (1, 2), "bip": (2, 1), "bsq": (0, 2), "tiles": (1, 3)}[layout]
        bands, width = (data.shape[axis] for axis in axes)
        self._data = data.transpose(1, 0, 2) if layout == "bsq" else data
        self._next = 0
        height = data.shape[2] if layout == "tiles" else 1
        kept = "bil" if layout == "bsq" else layout
        super().__init__(name, data.dtype, bands, width, height, kept)

    def read(self, item: np.ndarray, is_stopping: Callable[[], bool]) -> bool:
        if self._next == len(self._data) or is_stopping():
            return False
        np.copyto(item, self._data[self._next])
        self._next += 1
        return True


class PipeSource(Source):
    """Lines of a descriptor; never blocked in it for long, so that the program can always end.

    Args:
        stall_s: how long nothing may come; None waits for ever.
    """

    is_pipe = True

    def __init__(
        self,
        name: str,
        descriptor: int,
        dtype: np.dtype[Any],
        bands: int,
        width: int,
        layout: str,
        stall_s: float | None,
    ) -> None:
        super().__init__(name, dtype, bands, width, 1, layout)
        self._descriptor, self._stall_s = descriptor, stall_s
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def read(self, item: np.ndarray, is_stopping: Callable[[], bool]) -> bool:
        rest = item.reshape(-1).view(np.uint8).data
        size = len(rest)
        while len(rest):
            if not self._wait(is_stopping):
                return False
            try:
                count = os.readv(self._descriptor, [rest])
            except BlockingIOError:
                continue
            except OSError as error:
                raise BoardError(f"{self.name} broke off ({error.strerror})") from error
            if count == 0:
                if len(rest) < size:
                    raise BoardError(
                        f"{self.name} ended within a line: {size - len(rest)} of {size} bytes "
                        f"({self.bands} bands x {self.width} samples of {self.dtype}); check "
                        "--width, --dtype and --bands"
                    )
                return False
            rest = rest[count:]
        return True

    def close(self) -> None:
        if self._descriptor != _STDIN:
            os.close(self._descriptor)

    def _wait(self, is_stopping: Callable[[], bool]) -> bool:
        start = time.monotonic()
        try:
            while not self._poll.poll(_POLL_MS):
                if is_stopping():
                    return False
                if self._stall_s is not None and time.monotonic() - start > self._stall_s:
                    raise BoardError(
                        f"{self.name} gave nothing for {self._stall_s:g} s; look at what feeds it, "
                        "or raise --stall"
                    )
            return not is_stopping()
        finally:
            self.waited += time.monotonic() - start


def open_source(name: str, shape: Shape, stall_s: float | None = None) -> Source:
    """Open ``-`` (standard input), a named pipe, a raw file or a ``.npy`` file.

    A ``.npy`` holds lines [lines, C, W] (``bil``), [lines, W, C] (``bip``), an image [C, lines, W]
    (``bsq``) or tiles [N, C, h, w]. Raw data need a width, a type and a layout.

    Raises:
        BoardError: no such file, or numbers that do not fit the bundle.
    """
    path = Path(name)
    try:
        status = os.fstat(_STDIN) if name == "-" else path.stat()
    except OSError as error:
        raise BoardError(f"{name} cannot be read ({error.strerror}); name a file or -") from error
    if stat.S_ISDIR(status.st_mode):
        raise BoardError(f"{name} is a folder; name a file or -")
    is_file = name != "-" and stat.S_ISREG(status.st_mode)
    if is_file and path.suffix == ".npy":
        return _open_npy(path, shape)
    dtype, bands, width, layout = _raw(name, shape)
    if is_file:
        return _open_file(path, status.st_size, dtype, bands, width, layout)
    if layout == "bsq":
        raise BoardError(f"{name} gives lines; bsq is known when all have come: use bil or bip")
    try:
        descriptor = _STDIN if name == "-" else os.open(name, _OPEN)
    except OSError as error:
        raise BoardError(f"{name} cannot be read ({error.strerror}); name a file or -") from error
    return PipeSource(name, descriptor, dtype, bands, width, layout, stall_s)


def _open_npy(path: Path, shape: Shape) -> Source:
    try:
        data = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BoardError(f"{path} is not a usable .npy file ({error})") from error
    known = [shape.bands] if shape.bands else list(shape.known)
    if data.dtype.kind not in "iuf" or data.ndim not in (3, 4) or data.size == 0:
        raise BoardError(
            f"{path} holds {data.dtype} {data.shape}; lines [lines, B, W], [lines, W, B] or tiles "
            f"[N, B, h, w] of numbers are needed, with B = {_either(known)}"
        )
    if data.ndim == 4:
        _require_bands(path, data.shape[1], known)
        return ArraySource(str(path), data, "tiles")
    fitting = [kind for kind, axis in (("bil", 1), ("bip", 2)) if data.shape[axis] in known]
    if shape.layout is None and len(fitting) == 2:
        raise BoardError(f"{path} {data.shape} is bil or bip alike; say which with --layout")
    layout = shape.layout or (fitting[0] if fitting else "bil")
    _require_bands(path, data.shape[{"bil": 1, "bip": 2, "bsq": 0}[layout]], known)
    return ArraySource(str(path), data, layout)


def _raw(name: str, shape: Shape) -> tuple[np.dtype[Any], int, int, str]:
    if shape.width is None or shape.dtype is None or shape.layout is None:
        raise BoardError(f"{name} holds raw numbers: say --width, --dtype and --layout")
    try:
        kind = np.dtype(shape.dtype)
    except TypeError as error:
        raise BoardError(
            f"--dtype {shape.dtype} is unknown; use one such as uint16 or >u2"
        ) from error
    if kind.kind not in "iuf" or shape.width < 1:
        raise BoardError(
            f"numbers and a width of at least 1 are needed, got {shape.dtype} and {shape.width}"
        )
    bands = shape.bands or shape.known[0]
    _require_bands(name, bands, shape.known)
    return kind, bands, shape.width, shape.layout


def _open_file(
    path: Path, size: int, dtype: np.dtype[Any], bands: int, width: int, layout: str
) -> Source:
    line = width * bands * dtype.itemsize
    if size == 0 or size % line:
        raise BoardError(
            f"{path} has {size} bytes, which is no multiple of a line of {line} ({bands} bands x "
            f"{width} samples of {dtype}); check --width, --dtype and --bands"
        )
    lines = size // line
    shapes = {"bil": (lines, bands, width), "bip": (lines, width, bands)}
    shape = shapes.get(layout, (bands, lines, width))
    try:
        data = np.memmap(path, dtype=dtype, mode="r", shape=shape)
    except OSError as error:
        raise BoardError(f"{path} cannot be read ({error.strerror}); name a file or -") from error
    return ArraySource(str(path), data, layout)


def _require_bands(name: object, found: int, known: Sequence[int]) -> None:
    if found not in known:
        raise BoardError(
            f"{name} has {found} bands, the bundle's network takes {_either(known)}; give all "
            "bands of its sensor, or those that it was trained on"
        )


def _either(known: Sequence[int]) -> str:
    return " or ".join(str(count) for count in dict.fromkeys(known))
