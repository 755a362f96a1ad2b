"""A cube that is open: all that is known of it, and its pixels, read when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgesr.cube.cube import Cube, Window, invalid_values
from edgesr.cube.options import ReadOptions
from edgesr.cube.reading import reading, require_memory_to_read
from edgesr.cube.scaling import Factor
from edgesr.errors import DataError

_BLOCK_BYTES = 1 << 26  # of a quality layer, looked at together


class Pixels(ABC):
    """Values [H, W, B] that are read when they are asked for, from any thread.

    Attributes:
        shape: height, width, bands.
        dtype: of the stored values.
        chunks: rows and columns that are stored together; reads along them are the fastest.
        resident: whether all of them cost no further memory, as they are held or memory-mapped.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    chunks: tuple[int, int]
    resident: bool = False

    @abstractmethod
    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        """Values [h, w, b] of a window, of all or some bands, in a new array."""

    def whole(self) -> np.ndarray:
        """All values [H, W, B]; of resident ones a view."""
        return self.read(Window(0, 0, *self.shape[:2]))

    def close(self) -> None:  # noqa: B027  most hold nothing open
        """Close what was opened for them; more than once does no harm."""


class ArrayPixels(Pixels):
    """Pixels of an array [H, W, B] that is in memory, or memory-mapped."""

    resident = True

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        height, width, bands = array.shape
        self.shape, self.dtype, self.chunks = (height, width, bands), array.dtype, (1, width)

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        found = self.array[window.slices]
        return np.array(found if bands is None else found[:, :, list(bands)])

    def whole(self) -> np.ndarray:
        return self.array


class SelectedPixels(Pixels):
    """Bands of several sources of one size as one: chosen, joined and ordered.

    Args:
        parts: sources of equal height and width; their bands are numbered one after the other.
        order: of these numbers, those that are bands of the result, one after the other.
    """

    def __init__(self, parts: Sequence[Pixels], order: Sequence[int] | np.ndarray) -> None:
        self._parts = tuple(parts)
        sizes = {part.shape[:2] for part in parts}
        if len(sizes) != 1:
            raise DataError(
                "its parts differ in size ("
                + ", ".join(f"{height} x {width}" for height, width in sorted(sizes))
                + "); take the product again"
            )
        [(height, width)] = sizes
        counts = [part.shape[2] for part in parts]
        part_of = np.repeat(np.arange(len(counts)), counts)
        band_in = np.concatenate([np.arange(count) for count in counts])
        chosen = np.asarray(order, dtype=np.int64)
        self._part_of, self._band_in = part_of[chosen], band_in[chosen]
        self.shape = (height, width, chosen.size)
        self.dtype = np.result_type(*(part.dtype for part in parts))
        self.chunks = parts[0].chunks

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        chosen = np.arange(self.shape[2]) if bands is None else np.asarray(bands)
        result = np.empty((window.height, window.width, chosen.size), self.dtype)
        for index, part in enumerate(self._parts):
            here = np.flatnonzero(self._part_of[chosen] == index)
            if here.size:
                result[:, :, here] = part.read(window, self._band_in[chosen[here]].tolist())
        return result

    def close(self) -> None:
        for part in self._parts:
            part.close()


def in_ranges(
    read: Callable[[slice], np.ndarray], bands: Sequence[int] | None, count: int
) -> np.ndarray:
    """Values [h, w, b] of any bands, from what reads a range of ``count`` bands at a time."""
    if bands is None:
        return read(slice(0, count))
    chosen = np.asarray(bands)
    low, high = int(chosen.min()), int(chosen.max()) + 1
    if high - low <= 2 * chosen.size:
        return read(slice(low, high))[:, :, chosen - low]
    runs = np.split(chosen, np.flatnonzero(np.diff(chosen) != 1) + 1)
    return np.concatenate([read(slice(int(run[0]), int(run[-1]) + 1)) for run in runs], axis=2)


@dataclass(frozen=True, eq=False)
class OpenCube:
    """An image whose metadata are known and whose pixels are still in the file.

    Reads are safe from several threads. A pickled one is opened again by its ``spec``. As a context
    manager it closes its files.

    Attributes:
        pixels: values [H, W, B], native numbers.
        name, wavelengths, fwhm, bad_bands, nodata, crs, transform, source, gain, offset,
        band_names: as of a :class:`Cube`; bands without a valid value are not marked bad.
        quality: values [H, W, 1 or B] that are not 0 where there is no measurement, or None.
        axes_assumed: no one says which axis is the band axis; it was taken to be the last.
        glt: for each pixel of an orthorectified grid the pixel here, see :mod:`edgesr.cube.glt`.
        spec: what it was opened by; None for a cube in memory.
        options: with which it was opened.
        files: all that reading it may read.
    """

    pixels: Pixels
    name: str = "cube"
    wavelengths: np.ndarray | None = None
    fwhm: np.ndarray | None = None
    bad_bands: np.ndarray | None = None
    nodata: float | None = None
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    source: str = ""
    gain: Factor | None = None
    offset: Factor | None = None
    band_names: tuple[str, ...] | None = None
    quality: Pixels | None = None
    axes_assumed: bool = False
    spec: str | Path | None = None
    options: ReadOptions = field(default_factory=ReadOptions)
    files: tuple[Path, ...] = ()
    kind: str = "a cube"

    @classmethod
    def of(cls, cube: Cube) -> OpenCube:
        """A cube that is in memory, or memory-mapped."""
        mask = None if cube.mask is None else ArrayPixels(cube.mask[:, :, None])
        return cls(ArrayPixels(cube.data), quality=mask, **_known(cube))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, bands."""
        return self.pixels.shape

    @property
    def bands(self) -> int:
        """Number of bands."""
        return self.shape[2]

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored numbers."""
        return self.pixels.dtype

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns that the file stores together."""
        return self.pixels.chunks

    @property
    def extent(self) -> Window:
        """The window that holds every pixel."""
        return Window(0, 0, *self.shape[:2])

    @property
    def may_hold_nodata(self) -> bool:
        """False when no pixel can be invalid (integers, no nodata number, no quality layer)."""
        return self.quality is not None or self.nodata is not None or self.dtype.kind == "f"

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        """Stored numbers [h, w, b] of a window, of all or some bands in their order.

        Raises:
            DataError: the window or a band is not in the image, or the file is damaged.
        """
        self._check(window, bands)
        with self.reading():
            return self.pixels.read(window, bands)

    def invalid(
        self,
        window: Window,
        bands: Sequence[int] | None = None,
        values: np.ndarray | None = None,
    ) -> np.ndarray:
        """Bool [h, w], True where **any** of the bands is masked, nodata or not finite.

        Args:
            window: where.
            bands: those that count; None is all.
            values: what :meth:`read` returned for them, where it was asked already.

        Raises:
            DataError: as :meth:`read`.
        """
        self._check(window, bands)
        result = np.zeros((window.height, window.width), dtype=bool)
        if self.quality is not None:
            of_bands = bands if self.quality.shape[2] > 1 else None
            with self.reading():
                result |= (self.quality.read(window, of_bands) != 0).any(axis=2)
        if self.nodata is not None or self.dtype.kind == "f":
            values = self.read(window, bands) if values is None else values
            result |= invalid_values(values, self.nodata).any(axis=2)
        return result

    def whole(self) -> Cube:
        """All pixels and what is known of them; bands that are masked everywhere are bad bands.

        Raises:
            DataError: they do not fit into free memory, or the file is damaged.
        """
        if not self.pixels.resident:
            require_memory_to_read(self.shape, self.dtype, self._path)
        with self.reading():
            data = self.pixels.whole()
            missing, mask = self._masked()
        known = _known(self)
        if missing.any():
            bad = self.bad_bands
            known["bad_bands"] = missing if bad is None else bad | missing
        return Cube(data, mask=mask, **known)

    def windows(self, height: int, width: int) -> Iterator[Window]:
        """Windows of at most this size that cover the image, row by row."""
        rows, cols = self.shape[:2]
        for row in range(0, rows, height):
            for col in range(0, cols, width):
                yield Window(row, col, min(height, rows - row), min(width, cols - col))

    def reading(self) -> AbstractContextManager[None]:
        """Inside it, what a library raises on a damaged file becomes one line that names it."""
        return nullcontext() if self.spec is None else reading(self._path, self.kind)

    def close(self) -> None:
        """Close the files."""
        self.pixels.close()
        if self.quality is not None:
            self.quality.close()

    def __enter__(self) -> OpenCube:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., OpenCube], tuple[Any, ...]]:
        if self.spec is None:
            return OpenCube.of, (self.whole(),)
        return _again, (self.spec, self.options)

    @property
    def _path(self) -> Path:
        return self.files[0] if self.files else Path(self.source or self.name)

    def _masked(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Bool [B] of bands that are masked everywhere, and [H, W] of pixels, by the others."""
        missing = np.zeros(self.bands, dtype=bool)
        if self.quality is None:
            return missing, None
        height, width, bands = self.quality.shape
        rows = max(1, _BLOCK_BYTES // (width * bands * self.quality.dtype.itemsize))
        windows = list(self.windows(rows, width))
        chosen = None
        if bands > 1:
            missing[:] = True
            for window in windows:
                missing &= (self.quality.read(window) != 0).all(axis=(0, 1))
            if missing.all():
                return missing, np.ones((height, width), dtype=bool)
            chosen = np.flatnonzero(~missing).tolist()
        mask = np.concatenate(
            [(self.quality.read(window, chosen) != 0).any(axis=2) for window in windows]
        )
        return missing, mask if mask.any() else None

    def _check(self, window: Window, bands: Sequence[int] | None) -> None:
        if window.pixels <= 0 or not window.inside(self.extent):
            raise DataError(
                f"{self.name}: the window of {window.height} x {window.width} at row {window.row}, "
                f"column {window.col} is not inside the image of {self.shape[0]} x {self.shape[1]}"
            )
        if bands is not None and not (len(bands) and min(bands) >= 0 and max(bands) < self.bands):
            raise DataError(
                f"{self.name}: cannot read bands {list(bands)[:8]}; choose from 0 to "
                f"{self.bands - 1}"
            )


KNOWN = (
    "name", "wavelengths", "fwhm", "bad_bands", "nodata", "crs", "transform", "source", "gain",
    "offset", "band_names",
)  # fmt: skip
"""What a cube and an open one know alike."""


def _known(cube: Cube | OpenCube) -> dict[str, Any]:
    return {what: getattr(cube, what) for what in KNOWN}


def _again(spec: str | Path, options: ReadOptions) -> OpenCube:
    from edgesr.cube.readers import open_cube

    return open_cube(spec, options)
