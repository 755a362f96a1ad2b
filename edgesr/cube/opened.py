"""A cube that is open: all that is known of it, and its pixels, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgesr.cube.control import GroundControls, Rpcs
from edgesr.cube.cube import Cube, Window, invalid_values
from edgesr.cube.glt import Glt
from edgesr.cube.options import ReadOptions
from edgesr.cube.pixels import ArrayPixels, Pixels
from edgesr.cube.reading import reading, require_memory_to_read
from edgesr.cube.scaling import Factor
from edgesr.errors import DataError

_BLOCK_BYTES = 1 << 26  # of a quality layer, looked at together


@dataclass(frozen=True, eq=False)
class OpenCube:
    """An image whose metadata are known and whose pixels are still in the file.

    Reads are safe from several threads. A pickled one is opened again by its ``spec``. As a context
    manager it closes its files.

    Attributes:
        pixels: values [H, W, B], native numbers.
        name, wavelengths, fwhm, bad_bands, nodata, crs, transform, source, gain, offset,
        band_names, gcps, rpcs: as of a :class:`Cube`; no band is marked bad for having no value.
        quality: values [H, W, 1 or B] that are not 0 where there is no measurement, or None.
        axes_assumed: no one says which axis is the band axis; it was taken to be the last.
        glt: for each pixel of a grid on the ground the pixel here, where the file has that.
        acquired: when, as RFC 3339 has it; None where that is not known.
        spec: what it was opened by; None for a cube in memory.
        options: with which it was opened.
        files: all that reading it may read.
        kind: what a damaged file cannot be read as.
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
    gcps: GroundControls = ()
    rpcs: Rpcs | None = None
    quality: Pixels | None = None
    axes_assumed: bool = False
    glt: Glt | None = None
    acquired: str | None = None
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
            require_memory_to_read(self.shape, self.dtype, self._place)
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
        return nullcontext() if self.spec is None else reading(self._place, self.kind)

    def close(self) -> None:
        """Close the files."""
        self.pixels.close()
        if self.quality is not None:
            self.quality.close()
        if self.glt is not None:
            self.glt.close()

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
    def _place(self) -> str:
        return str(self.files[0]) if self.files else self.source or self.name

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
    "offset", "band_names", "gcps", "rpcs",
)  # fmt: skip
"""What a cube and an open one know alike."""


def _known(cube: Cube | OpenCube) -> dict[str, Any]:
    return {what: getattr(cube, what) for what in KNOWN}


def _again(spec: str | Path, options: ReadOptions) -> OpenCube:
    from edgesr.cube.readers import open_cube

    return open_cube(spec, options)
