"""From the numbers of a source to those of a network, and back to those of a file.

A network of a bundle expects [0, 1] and the bands that it was trained on. The bundle's card says
how the sensor's numbers get there. Where the bundle has a native model for the source's numbers,
the graph does all of that, and the tiles are the source's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Iterator

import numpy as np

from .card import Card
from .contents import NATIVE_TYPES, Bundle, Native
from .errors import BoardError

_SLACK = 0.01
_UNKNOWN_FILL = 0.5
_MARGIN = 0.05  # of the training range, by which values may leave it
_SAMPLES = 16  # of a line, whose values are held against that range


@dataclass(frozen=True)
class Numbers:
    """What the numbers of a source mean, and how they are written.

    Attributes:
        bands: those of the source that go into a tile, as (in the source, in the tile).
        network: those of the source that the network sees; a native model may take more.
        count: bands of a tile.
        tile_dtype: of a tile.
        answer_dtype: of the network's answer.
        lower: native numbers [count, 1, 1] that become 0; None where nothing is mapped.
        span: native numbers between 0 and 1.
        fill: what a tile has in place of nodata, [count, 1, 1]; None where the graph does it.
        nodata: number of the source that says so; NaN and infinities always do.
        is_unit: the source has to be in [0, 1].
        written: type of what is written.
        written_nodata: its nodata.
        is_declared: whether somebody said so, and valid numbers keep away from it.
        as_bytes: tiles are given to the network as bytes.
        usual: range of the training pixels, a little widened, each [network's bands, 1]; None where
            the bundle does not know it.
    """

    bands: tuple[tuple[slice, slice], ...]
    network: tuple[tuple[slice, slice], ...]
    count: int
    tile_dtype: np.dtype[Any]
    answer_dtype: np.dtype[Any]
    lower: np.ndarray | None
    span: np.ndarray | None
    fill: np.ndarray | None
    nodata: float | None
    is_unit: bool
    written: np.dtype[Any]
    written_nodata: float
    is_declared: bool
    as_bytes: bool = False
    usual: tuple[np.ndarray, np.ndarray] | None = None

    def limits(self) -> tuple[float, float]:
        """Least and greatest number of a valid pixel in the file."""
        if self.written.kind == "f":
            return -math.inf, math.inf
        range_of = np.iinfo(self.written)
        low, high = int(range_of.min), int(range_of.max)
        if self.is_declared:
            low, high = low + (self.written_nodata == low), high - (self.written_nodata == high)
        return low, high


@dataclass(frozen=True)
class Wishes:
    """What the user says of the numbers.

    Attributes:
        is_unit: the source is in [0, 1] already.
        nodata: of the source, instead of the bundle's.
        dtype: to be written; None is the source's own.
    """

    is_unit: bool = False
    nodata: float | None = None
    dtype: str | None = None


def choose_numbers(bundle: Bundle, dtype: np.dtype[Any], count: int, wishes: Wishes) -> Numbers:
    """The way of a source with ``count`` bands of ``dtype`` through numpy.

    Raises:
        BoardError: integers without a normalisation.
    """
    card = bundle.card
    is_mapped = card.lower is not None and card.upper is not None and not wishes.is_unit
    if not is_mapped and dtype.kind in "iu":
        raise BoardError(
            f"the source holds integers ({dtype}), the network expects 0 to 1; use a bundle "
            "with a normalisation, and leave --normalised out"
        )
    lower: np.ndarray | None = None
    span: np.ndarray | None = None
    fill: np.ndarray = np.full((bundle.bands, 1, 1), _UNKNOWN_FILL, np.float32)
    if is_mapped:
        low, high = (
            np.asarray(each, np.float64).reshape(-1, 1, 1) for each in (card.lower, card.upper)
        )
        lower, span = low.astype(np.float32), (high - low).astype(np.float32)
        if card.fill is not None:
            fill = np.asarray(card.fill, np.float64).reshape(-1, 1, 1)
            fill = np.clip((fill - low) / (high - low), 0.0, 1.0).astype(np.float32)
    nodata = _nodata(card, dtype, wishes)
    if wishes.dtype is not None and np.dtype(wishes.dtype).kind != "f" and not is_mapped:
        raise BoardError(f"--write-dtype {wishes.dtype} is for native numbers; leave it out")
    own = dtype.newbyteorder("=")
    is_kept = is_mapped and own.name in NATIVE_TYPES
    written = np.dtype(wishes.dtype or (own if is_kept else np.float32))
    bands = tuple(runs(_chosen(card, bundle.bands, count)))
    return Numbers(
        bands=bands,
        network=bands,
        count=bundle.bands,
        tile_dtype=np.dtype(np.float32),
        answer_dtype=np.dtype(np.float32),
        lower=lower,
        span=span,
        fill=fill,
        nodata=nodata,
        is_unit=not is_mapped,
        written=written,
        written_nodata=_written_nodata(nodata, written),
        is_declared=nodata is not None,
        usual=_usual(card) if is_mapped else None,
    )


def native_numbers(
    bundle: Bundle, native: Native, dtype: np.dtype[Any], count: int, wishes: Wishes
) -> Numbers | str:
    """The way through a native model, or why this source cannot take it."""
    own = dtype.newbyteorder("=")
    wanted = wishes.dtype or own
    if wishes.is_unit:
        return "--normalised"
    if own != np.dtype(native.input_dtype):
        return f"the source has {own}, the native model takes {native.input_dtype}"
    if np.dtype(wanted) != np.dtype(native.output_dtype):
        return f"{np.dtype(wanted)} is to be written, the native model gives {native.output_dtype}"
    if wishes.nodata is not None and not _same(wishes.nodata, native.nodata):
        return f"--nodata {wishes.nodata:g} is not that of the native model"
    network = tuple(runs(_chosen(bundle.card, bundle.bands, count)))
    if native.selection and count != native.sensor_bands:
        return f"the source has {count} bands, the native model takes {native.sensor_bands}"
    written = np.dtype(native.output_dtype)
    return Numbers(
        bands=((slice(0, count), slice(0, count)),) if native.selection else network,
        network=network,
        count=native.sensor_bands,
        tile_dtype=own,
        answer_dtype=written,
        lower=None,
        span=None,
        fill=None,
        nodata=native.nodata,
        is_unit=False,
        written=written,
        written_nodata=_written_nodata(native.nodata, written),
        is_declared=native.nodata is not None,
        as_bytes=native.as_bytes,
        usual=_usual(bundle.card),
    )


def runs(index: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Bands by position, as few slices as there can be: (in the source, in the tile)."""
    start = 0
    for stop in range(1, len(index) + 1):
        if stop == len(index) or index[stop] != index[stop - 1] + 1:
            yield slice(index[start], index[stop - 1] + 1), slice(start, stop)
            start = stop


class Masks:
    """Which pixels are nodata: any of the network's bands is, or is not finite."""

    def __init__(self, numbers: Numbers, width: int) -> None:
        self._numbers, self._bands = numbers, numbers.network
        most = max(source.stop - source.start for source, _ in self._bands)
        self._each = np.empty((most, width), dtype=bool)
        self._any = np.empty(width, dtype=bool)

    def find(self, line: np.ndarray, mask: np.ndarray) -> bool:
        """Nodata of a line [C, W] into ``mask`` [W]; returns whether there is any.

        Raises:
            BoardError: numbers outside [0, 1] where nothing maps them there.
        """
        numbers, nodata = self._numbers, self._numbers.nodata
        is_float = line.dtype.kind == "f"
        mask[:] = False
        for source, _ in self._bands:
            values, each = line[source], self._each[: source.stop - source.start]
            if is_float:
                np.logical_not(np.isfinite(values, out=each), out=each)
                mask |= each.any(axis=0, out=self._any)
            if nodata is not None and math.isfinite(nodata):
                is_hole = np.equal(values, line.dtype.type(nodata), out=each)
                mask |= is_hole.any(axis=0, out=self._any)
        if numbers.is_unit:
            self._require_unit(line, mask)
        return bool(mask.any())

    def _require_unit(self, line: np.ndarray, mask: np.ndarray) -> None:
        valid = np.logical_not(mask, out=self._any)[None]
        for source, _ in self._bands:
            low = line[source].min(initial=np.inf, where=valid)
            high = line[source].max(initial=-np.inf, where=valid)
            if low < -_SLACK or high > 1.0 + _SLACK:
                raise BoardError(
                    f"the source has values from {low:g} to {high:g}, the network expects 0 to 1; "
                    "give native numbers and a bundle with a normalisation, or normalise them"
                )


class Range:
    """Counts values outside the range of the training pixels, at some samples of every line.

    Attributes:
        looked: valid values that were looked at.
        outside: those of them that lie outside.
    """

    def __init__(self, numbers: Numbers, width: int) -> None:
        self.looked = self.outside = 0
        self._numbers, self._every = numbers, max(1, width // _SAMPLES)

    def look(self, line: np.ndarray, mask: np.ndarray) -> None:
        """Count in a line [C, W] whose nodata is ``mask`` [W]."""
        if self._numbers.usual is None:
            return
        low, high = self._numbers.usual
        valid = ~mask[:: self._every]
        for source, target in self._numbers.network:
            values = line[source, :: self._every]
            is_outside = ((values < low[target]) | (values > high[target])) & valid
            self.outside += int(np.count_nonzero(is_outside))
            self.looked += len(values) * int(np.count_nonzero(valid))

    def share(self) -> float | None:
        """Of the values outside; None where that is unknown."""
        return self.outside / self.looked if self.looked else None


def _usual(card: Card) -> tuple[np.ndarray, np.ndarray] | None:
    if card.low is None or card.high is None:
        return None
    low, high = (np.asarray(each, np.float64)[:, None] for each in (card.low, card.high))
    margin = _MARGIN * (high - low)
    return low - margin, high + margin


def _chosen(card: Card, bands: int, count: int) -> tuple[int, ...]:
    if card.index is not None and count == card.count:
        return card.index
    return tuple(range(bands))


def _nodata(card: Card, dtype: np.dtype[Any], wishes: Wishes) -> float | None:
    """The number that says "no measurement"; None where none can, or nobody said which."""
    value = card.nodata if wishes.nodata is None and not wishes.is_unit else wishes.nodata
    if value is not None and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not (math.isfinite(value) and limits.min <= value <= limits.max and value % 1 == 0):
            return None
    return value


def _written_nodata(nodata: float | None, written: np.dtype[Any]) -> float:
    if written.kind == "f":
        return math.nan if nodata is None else nodata
    limits = np.iinfo(written)
    usable = nodata is not None and math.isfinite(nodata) and limits.min <= nodata <= limits.max
    return float(nodata) if usable and nodata is not None else 0.0


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))
