"""What a native file takes and gives: the sensor's own numbers, and what they mean."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from edgesr_export.errors import ExportError

DTYPES = ("uint8", "uint16", "int16", "float32")
"""Types that an image may have; float32 holds every number of the others."""

LARGEST, SMALLEST = (float(getattr(np.finfo(np.float32), name)) for name in ("max", "tiny"))


@dataclass(frozen=True)
class NativeIO:
    """How native numbers become the network's, and its answer native numbers again.

    A network's band is (x - lower) / (upper - lower), clipped to [0, 1]; its answer y is
    y (upper - lower) + lower. In an integer type that is rounded, half to even, and saturated.

    A pixel is nodata where any band that the network reads is ``nodata`` or not finite: the network
    reads ``fill`` there, and its block of r x r pixels comes out as :attr:`empty`.

    Attributes:
        lower, upper: native numbers that the network knows as 0 and 1, one a band of the network.
        sensor_bands: bands of the image given.
        selection: which of those the network reads, in its order; None for all.
        input_dtype, output_dtype: of :data:`DTYPES`.
        nodata: the number, or NaN, that stands for no measurement; None where there is none.
        fill: native numbers, one a band of the network, for nodata pixels; needed where
            :attr:`masked`.
        scale: r.
        as_bytes: 16-bit integers travel as two bytes each: uint8 [N, C, h, w, 2], low byte first,
            which in memory is the same array. For TensorRT, which has no such integers.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    sensor_bands: int
    selection: tuple[int, ...] | None
    input_dtype: str
    output_dtype: str
    nodata: float | None
    fill: tuple[float, ...] | None
    scale: int
    as_bytes: bool = False

    def __post_init__(self) -> None:
        """Sequences and arrays of any kind are accepted, and kept as tuples."""
        for name, number in (("lower", float), ("upper", float), ("fill", float)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _numbers(getattr(self, name), number, name))
        if self.selection is not None:
            object.__setattr__(self, "selection", _numbers(self.selection, int, "selection"))
        _check(self)

    @property
    def bands(self) -> int:
        """Bands of the network, in and out."""
        return len(self.lower)

    @property
    def masked(self) -> bool:
        """Whether a pixel can be nodata at all."""
        return self.nodata is not None or self.input_dtype == "float32"

    @property
    def empty(self) -> float:
        """What stands for nodata in the output."""
        if self.nodata is not None:
            return self.nodata
        return math.nan if self.output_dtype == "float32" else 0.0

    def pairs(self, dtype: str) -> bool:
        """Whether an image of ``dtype`` travels as two bytes a number."""
        return self.as_bytes and dtype in ("uint16", "int16")

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> NativeIO:
        """What :meth:`to_json` wrote.

        Raises:
            ExportError: it is something else.
        """
        names = {field.name for field in fields(NativeIO)}
        try:
            content = json.loads(text)
            return NativeIO(**{name: content[name] for name in names})
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise ExportError(
                f"the description of native numbers cannot be read ({error}); make the file again"
            ) from error


def normalising(io: NativeIO) -> tuple[np.ndarray, np.ndarray]:
    """lower and factor [B] of float32: a number x is min(max(x - lower, 0) factor, 1)."""
    lower, upper = np.array(io.lower), np.array(io.upper)
    return lower.astype(np.float32), (1 / (upper - lower)).astype(np.float32)


def check_image(image: np.ndarray, io: NativeIO, name: str) -> None:
    """Refuse what is no image of native numbers.

    Raises:
        ExportError: another type, or other axes or bands.
    """
    if image.dtype != io.input_dtype or image.ndim != 4 or image.shape[1] != io.sensor_bands:
        raise ExportError(
            f"{name} is {image.dtype} {list(image.shape)}; {io.input_dtype} "
            f"[N, {io.sensor_bands}, h, w] is needed"
        )


def to_bytes(image: np.ndarray) -> np.ndarray:
    """16-bit integers [...] as the bytes [..., 2] of a file made with ``as_bytes``."""
    little = np.ascontiguousarray(image, image.dtype.newbyteorder("<"))
    return little[..., None].view(np.uint8)


def from_bytes(image: np.ndarray, dtype: str) -> np.ndarray:
    """Bytes [..., 2] as integers [...] of the 16-bit type ``dtype``."""
    little = np.ascontiguousarray(image).view(np.dtype(dtype).newbyteorder("<"))
    return little[..., 0].astype(dtype, copy=False)


def _numbers(given: Any, number: type, name: str) -> tuple[Any, ...]:
    try:
        array = np.asarray(given)
        whole = array.dtype.kind in "iu" or not array.size
        if array.ndim != 1 or (number is int and not whole):
            raise ValueError(f"an array of {array.dtype} {list(array.shape)}")
        return tuple(number(one) for one in array)
    except (TypeError, ValueError) as error:
        raise ExportError(f"{name} is one {number.__name__} for each band, got {error}") from error


def _check(io: NativeIO) -> None:
    if not io.bands:
        raise ExportError("lower is empty; give a number for each band of the network")
    for name in ("upper", "fill", "selection"):
        given = getattr(io, name)
        if given is not None and len(given) != io.bands:
            raise ExportError(
                f"{name} has {len(given)} entries and lower has {io.bands}; give one for each band "
                "of the network"
            )
    for band, (low, high) in enumerate(zip(io.lower, io.upper, strict=True)):
        if not (abs(low) <= LARGEST and abs(high) <= LARGEST and high - low >= SMALLEST):
            raise ExportError(
                f"band {band} of the network reaches from {low:g} to {high:g}; "
                "lower must be below upper, both numbers of float32"
            )
    _check_selection(io)
    for name in ("input_dtype", "output_dtype"):
        if getattr(io, name) not in DTYPES:
            raise ExportError(f"{name} is one of {', '.join(DTYPES)}, got {getattr(io, name)!r}")
        _check_nodata(io, getattr(io, name), name)
    if io.scale < 1:
        raise ExportError(f"scale is a whole number from 1, got {io.scale}")
    if io.masked and io.fill is None:
        raise ExportError("pixels can be nodata and nothing fills them; give fill, one for a band")
    if io.fill is not None and not np.isfinite(io.fill).all():
        raise ExportError("fill holds values that are not finite; give numbers that were measured")


def _check_selection(io: NativeIO) -> None:
    if io.selection is None:
        if io.sensor_bands != io.bands:
            raise ExportError(
                f"the image has {io.sensor_bands} bands and the network {io.bands}; give the "
                "selection that the network reads"
            )
        return
    outside = [index for index in io.selection if not 0 <= index < io.sensor_bands]
    if outside:
        raise ExportError(
            f"selection names band {outside[0]}; the image has bands 0 to {io.sensor_bands - 1}"
        )


def _check_nodata(io: NativeIO, dtype: str, name: str) -> None:
    if io.nodata is None:
        return
    whole = dtype != "float32"
    kind = np.iinfo(dtype) if whole else np.finfo(dtype)
    least, most = float(kind.min), float(kind.max)
    inside = least <= io.nodata <= most and (not whole or io.nodata == int(io.nodata))
    if not inside and (whole or math.isfinite(io.nodata)):
        raise ExportError(
            f"nodata {io.nodata:g} is no number of {name} {dtype} ({least:g} to {most:g}); "
            "choose another type, or map nodata before"
        )
