"""The hyperspectral cube with what is known about it, and windows into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgesr.cube.control import (
    GroundControls,
    Rpcs,
    exchanged,
    magnified,
    magnified_transform,
    moved,
    moved_transform,
)
from edgesr.cube.nodata import held_nodata
from edgesr.cube.scaling import Factor, picked_factor
from edgesr.errors import DataError

PER_BAND = ("wavelengths", "fwhm", "bad_bands", "gain", "offset", "band_names")
"""What is known of each band."""
_OR_ONE = ("gain", "offset")  # of which one number may be that of all bands
_BLOCK_VALUES = 1 << 24  # values looked at together when a cube is scanned: 64 MB in float32


@dataclass(frozen=True, order=True)
class Window:
    """A rectangle of pixels: rows ``row .. row + height``, columns ``col .. col + width``."""

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices that cut this window out of an array [H, W, ...]."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    def intersects(self, other: Window) -> bool:
        """Whether at least one pixel lies in both windows."""
        return (
            self.row < other.row + other.height
            and other.row < self.row + self.height
            and self.col < other.col + other.width
            and other.col < self.col + self.width
        )

    def inside(self, other: Window) -> bool:
        """Whether every pixel of this window lies in ``other``."""
        return (
            self.row >= other.row
            and self.col >= other.col
            and self.row + self.height <= other.row + other.height
            and self.col + self.width <= other.col + other.width
        )

    def tiles(self, size: int, stride: int, *, cover: bool = False) -> list[Window]:
        """Square windows of ``size`` pixels every ``stride`` pixels, all inside this window.

        What is left at the right and lower edge is dropped, or, with ``cover``, reached by one
        more row and column of tiles that end exactly at the edge.
        """
        if size < 1 or stride < 1:
            raise DataError(
                f"tiles need a size and a stride of at least 1, received size {size} and stride "
                f"{stride}; choose an overlap that is smaller than the patch"
            )

        def starts(begin: int, length: int) -> list[int]:
            last = begin + length - size
            positions = list(range(begin, last + 1, stride))
            if cover and positions and positions[-1] != last:
                positions.append(last)
            return positions

        return [
            Window(row, col, size, size)
            for row in starts(self.row, self.height)
            for col in starts(self.col, self.width)
        ]


@dataclass(frozen=True, eq=False)
class Cube:
    """An image [H, W, B] in the numbers of its file, with its spectral and geographic metadata.

    Attributes:
        data: array [H, W, B], native numbers; may be memory-mapped, and is never changed.
        name: short name, for reports.
        wavelengths: band centres [B] in nanometres, or None.
        fwhm: full widths at half maximum [B] in nanometres, or None.
        bad_bands: bool [B], True = the publisher (or a band without any valid value) says bad.
        nodata: the number that stands for "no measurement", or None.
        mask: bool [H, W], True = nodata pixel. None = none known; see :meth:`invalid`.
        crs: coordinate reference system as WKT, or None.
        transform: affine (a, b, c, d, e, f): x = a col + b row + c, y = d col + e row + f.
        source: where the pixels come from.
        gain: physical value of one unit of ``data`` (e.g. 0.0001 for reflectance x 10,000), for
            all bands or float64 [B]; None is 1.
        offset: physical value of 0 in ``data``, for all bands or float64 [B]; None is 0.
        band_names: what the file calls its bands [B], or None.
        gcps: ground control points in ``crs``, of an image without ``transform``.
        rpcs: rational polynomial coefficients as GDAL names them in its RPC domain, or None.
    """

    data: np.ndarray
    name: str = "cube"
    wavelengths: np.ndarray | None = None
    fwhm: np.ndarray | None = None
    bad_bands: np.ndarray | None = None
    nodata: float | None = None
    mask: np.ndarray | None = None
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    source: str = ""
    gain: Factor | None = None
    offset: Factor | None = None
    band_names: tuple[str, ...] | None = None
    gcps: GroundControls = ()
    rpcs: Rpcs | None = None

    def __post_init__(self) -> None:
        if self.data.ndim != 3:
            raise DataError(
                f"{self.name}: the array has {self.data.ndim} axes {self.data.shape}, but a cube "
                "has three, [height, width, bands]; reshape it or name another variable"
            )
        if 0 in self.data.shape:
            raise DataError(f"{self.name}: the array {self.data.shape} is empty; name another one")
        if self.data.dtype.kind not in "iuf":
            raise DataError(
                f"{self.name}: values of type {self.data.dtype} are not real numbers; "
                "convert them to an integer or a float type"
            )
        for what in PER_BAND:
            values = getattr(self, what)
            if not fits_bands(what, values, self.bands):
                raise DataError(
                    f"{self.name}: {what} has shape {np.shape(values)} for {self.bands} bands; "
                    "correct the metadata"
                )
        if self.mask is not None and self.mask.shape != self.data.shape[:2]:
            raise DataError(
                f"{self.name}: the mask has shape {self.mask.shape} for an image of "
                f"{self.data.shape[:2]}; correct the metadata"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, bands."""
        height, width, bands = self.data.shape
        return height, width, bands

    @property
    def bands(self) -> int:
        """Number of bands."""
        return self.data.shape[2]

    @property
    def extent(self) -> Window:
        """The window that holds every pixel."""
        return Window(0, 0, *self.data.shape[:2])

    @property
    def may_hold_nodata(self) -> bool:
        """False when no pixel can be invalid (integers, no nodata number, no mask)."""
        return self.mask is not None or self.nodata is not None or self.data.dtype.kind == "f"

    def invalid(self, bands: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Bool [H, W], True where the mask is set or **any** of the bands is nodata or not finite.

        Reads blocks of rows, so a memory-mapped cube is not loaded whole, and reads nothing when
        :attr:`may_hold_nodata` is False.
        """
        result = np.zeros(self.data.shape[:2], dtype=bool)
        if self.mask is not None:
            result |= self.mask
        if self.nodata is None and self.data.dtype.kind != "f":
            return result
        whole = bands is None or len(bands) == self.bands
        for rows in self.row_blocks():
            block = self.data[rows] if whole else self.data[rows][:, :, bands]
            result[rows] |= invalid_values(block, self.nodata).any(axis=2)
        return result

    def row_blocks(self) -> Iterator[slice]:
        """Row slices that cover the cube, each small enough to be held in memory."""
        height, width, bands = self.shape
        step = max(1, _BLOCK_VALUES // (width * bands))
        return (slice(start, min(start + step, height)) for start in range(0, height, step))

    def select_bands(self, indices: Sequence[int] | np.ndarray) -> Cube:
        """The cube with only these bands, in this order; evenly spaced bands stay a view."""
        chosen = np.asarray(indices, dtype=np.int64)
        if chosen.size == 0 or chosen.min() < 0 or chosen.max() >= self.bands:
            raise DataError(
                f"{self.name}: cannot select bands {chosen.tolist()[:8]}; choose from 0 to "
                f"{self.bands - 1}"
            )
        if chosen.size == self.bands and (np.diff(chosen) == 1).all():
            return self

        def pick(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[chosen]

        steps = np.unique(np.diff(chosen))
        if chosen.size == 1 or (steps.size == 1 and steps[0] > 0):
            step = int(steps[0]) if steps.size else 1
            data = self.data[:, :, int(chosen[0]) : int(chosen[-1]) + 1 : step]
        else:
            data = self.data[:, :, chosen]
        return replace(
            self,
            data=data,
            wavelengths=pick(self.wavelengths),
            fwhm=pick(self.fwhm),
            bad_bands=pick(self.bad_bands),
            gain=picked_factor(self.gain, chosen),
            offset=picked_factor(self.offset, chosen),
            band_names=None
            if self.band_names is None
            else tuple(self.band_names[index] for index in chosen),
        )

    def crop(self, window: Window) -> Cube:
        """The pixels of ``window``, as a view, with the georeference moved along."""
        if not window.inside(self.extent) or window.pixels == 0:
            raise DataError(
                f"{self.name}: the window of {window.height} x {window.width} at row {window.row}, "
                f"column {window.col} is not inside the image of {self.shape[0]} x {self.shape[1]}"
            )
        rows, cols = window.slices
        gcps, rpcs = moved(self.gcps, self.rpcs, window.row, window.col)
        return replace(
            self,
            data=self.data[rows, cols],
            mask=None if self.mask is None else self.mask[rows, cols],
            transform=moved_transform(self.transform, window.row, window.col),
            gcps=gcps,
            rpcs=rpcs,
        )

    def transposed(self) -> Cube:
        """Rows and columns exchanged, as a view, with the georeference exchanged along."""
        transform = self.transform
        if transform is not None:
            a, b, c, d, e, f = transform
            transform = (b, a, c, e, d, f)
        gcps, rpcs = exchanged(self.gcps, self.rpcs)
        return replace(
            self,
            data=self.data.swapaxes(0, 1),
            mask=None if self.mask is None else self.mask.T,
            transform=transform,
            gcps=gcps,
            rpcs=rpcs,
        )

    def upscaled(self, data: np.ndarray, scale: int) -> Cube:
        """A super-resolved cube: ``data`` [H * scale, W * scale, B] with this cube's metadata.

        The pixel size is divided by ``scale``, the upper left corner stays. The mask is repeated,
        and what it covers becomes nodata (NaN where no number is defined and the type has one).
        Nodata is the number that the type of ``data`` holds, see :func:`held_nodata`.
        """
        height, width, bands = self.shape
        expected = (height * scale, width * scale, bands)
        if data.shape != expected:
            raise DataError(
                f"{self.name}: super-resolved data of shape {data.shape} do not fit x{scale} of "
                f"{self.shape}; expected {expected}"
            )
        mask = self.mask
        if mask is not None:
            mask = mask.repeat(scale, axis=0).repeat(scale, axis=1)
            data = without_masked(data, mask, self.nodata)
        gcps, rpcs = magnified(self.gcps, self.rpcs, scale)
        return replace(
            self,
            data=data,
            mask=mask,
            transform=magnified_transform(self.transform, scale),
            nodata=held_nodata(self.nodata, data.dtype),
            gcps=gcps,
            rpcs=rpcs,
        )


def fits_bands(what: str, values: Any, bands: int) -> bool:
    """Whether a field of a cube, one of :data:`PER_BAND`, has a value for each band, or none."""
    shapes = [(bands,), *([()] if what in _OR_ONE else [])]
    return values is None or np.shape(values) in shapes


def invalid_values(values: np.ndarray, nodata: float | None) -> np.ndarray:
    """Bool of the shape of ``values``: True where a value is ``nodata`` or not finite.

    ``nodata`` is compared as the type of ``values`` holds it.
    """
    invalid = np.zeros(values.shape, dtype=bool)
    if values.dtype.kind == "f":
        np.logical_not(np.isfinite(values), out=invalid)
    held = held_nodata(nodata, values.dtype)
    if held is not None and np.isfinite(held):
        invalid |= values == values.dtype.type(held)
    return invalid


def without_masked(data: np.ndarray, mask: np.ndarray, nodata: float | None) -> np.ndarray:
    """A copy of ``data`` [H, W, B] with ``nodata`` (else NaN) where ``mask`` [H, W] is True.

    Integers without a nodata number that they can hold are returned as they are.
    """
    held = held_nodata(nodata, data.dtype)
    if held is None and data.dtype.kind != "f":
        return data
    result = data.copy()
    result[mask] = np.nan if held is None else held
    return result
