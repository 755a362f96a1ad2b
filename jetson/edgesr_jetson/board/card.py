"""What the desktop says of the numbers: bands, units, nodata; ``facts.card`` of a manifest.

A bundle of an older desktop has no card. What can be had from its other facts is taken from there,
the rest is unknown.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Optional, Tuple

from .errors import BoardError
from .fields import number

GLOBAL = "global"
"""Context of a network whose every output pixel depends on the whole tile."""

_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")
_MOST_BANDS = 1 << 16
_LARGEST_CONTEXT = 1 << 16
_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

Numbers = Optional[Tuple[float, ...]]


@dataclass(frozen=True)
class Card:
    """Facts that live use needs; None is unknown.

    Attributes:
        index: of each of the network's bands among the sensor's, from 0.
        count: bands of the sensor.
        lower: native numbers [B] that are 0 to the network.
        upper: native numbers [B] that are 1 to the network.
        low: least native numbers [B] of the training pixels.
        high: greatest of them.
        fill: native numbers [B] that the network sees where there is nodata.
        nodata: the number that says so; NaN and infinities always do.
        wavelengths: centres of the network's bands [B] in nm.
        fwhm: their widths [B] in nm.
        gain: [B]; physical value = gain * number + offset.
        offset: [B].
        context: pixels around a tile that its result depends on, or :data:`GLOBAL`.
    """

    index: tuple[int, ...] | None = None
    count: int | None = None
    lower: Numbers = None
    upper: Numbers = None
    low: Numbers = None
    high: Numbers = None
    fill: Numbers = None
    nodata: float | None = None
    wavelengths: Numbers = None
    fwhm: Numbers = None
    gain: Numbers = None
    offset: Numbers = None
    context: int | str | None = None


def read_card(facts: dict[str, Any], bands: int) -> Card:
    """The card of a bundle of ``bands`` bands, its normalisation included.

    Raises:
        BoardError: a field that does not fit; the message names it.
    """
    stored = facts.get("card")
    if stored is None:
        older = _older(facts.get("data"), bands)
        lower, upper = _limits(facts.get("normalisation"), bands)
        return Card(index=older[0], count=older[1], lower=lower, upper=upper)
    if not isinstance(stored, dict):
        raise _damaged("card")
    chosen = stored.get("bands")
    if not isinstance(chosen, dict):
        raise _damaged("card.bands")
    index: Any = chosen.get("index")
    count: Any = chosen.get("count")
    if not _are_bands(index, count, bands):
        raise _damaged("card.bands")
    limits = facts.get("normalisation") or stored.get("normalisation")
    lower, upper = _limits(limits, bands)
    native = stored.get("native")
    numbers = {**(native if isinstance(native, dict) else {}), **stored}

    def each(values: Any, name: str) -> Numbers:
        if isinstance(values, list) and len(values) == count != bands:
            values = [values[place] for place in index]
        return _each(values, bands, f"card.{name}")

    return Card(
        index=tuple(index),
        count=count,
        lower=lower,
        upper=upper,
        low=each(numbers.get("low"), "low"),
        high=each(numbers.get("high"), "high"),
        fill=each(numbers.get("fill"), "fill"),
        nodata=nodata_of(numbers.get("nodata"), "card.nodata"),
        wavelengths=each(chosen.get("wavelengths_nm"), "bands.wavelengths_nm"),
        fwhm=each(chosen.get("fwhm_nm"), "bands.fwhm_nm"),
        gain=each(numbers.get("gain"), "gain"),
        offset=each(numbers.get("offset"), "offset"),
        context=_context(stored.get("context")),
    )


def nodata_of(value: Any, where: str) -> float | None:
    """Nodata as JSON has it: a number, the text of one that is not finite, or null."""
    if value is None:
        return None
    if isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    try:
        return number(value)
    except (TypeError, OverflowError):
        raise _damaged(where) from None


def _limits(stored: Any, bands: int) -> tuple[Numbers, Numbers]:
    if stored is None:
        return None, None
    given = [stored.get(key) for key in ("lower", "upper")] if isinstance(stored, dict) else []
    if not given or not all(isinstance(one, list) and len(one) == bands for one in given):
        raise _damaged("normalisation")
    lower, upper = (_each(one, bands, "normalisation") for one in given)
    if not all(_is_span(*pair) for pair in zip(lower or (), upper or ())):
        raise _damaged("normalisation")
    return lower, upper


def _is_span(lower: float, upper: float) -> bool:
    """Whether two numbers are still apart, and not infinitely, in single precision."""
    return upper - lower > 1.2e-7 * max(abs(lower), abs(upper)) and upper - lower < 1e38


def _each(values: Any, bands: int, where: str) -> Numbers:
    """One finite number for each band; a number alone, or a list of one, stands for all."""
    if values is None:
        return None
    given = values if isinstance(values, list) else [values]
    try:
        found = tuple(number(value) for value in given)
    except (TypeError, OverflowError):
        raise _damaged(where) from None
    if len(found) not in (1, bands) or not all(abs(value) < 1e38 for value in found):
        raise _damaged(where)
    return found * bands if len(found) < bands else found


def _are_bands(index: Any, count: Any, bands: int) -> bool:
    return (
        isinstance(index, list)
        and type(count) is int
        and bands <= count <= _MOST_BANDS
        and len(index) == bands
        and all(type(place) is int and 0 <= place < count for place in index)
    )


def _context(value: Any) -> int | str | None:
    is_known = value is None or value == GLOBAL or type(value) is int
    if not is_known or (type(value) is int and not 0 <= value <= _LARGEST_CONTEXT):
        raise _damaged("card.context")
    return value


def _older(data: Any, bands: int) -> tuple[tuple[int, ...] | None, int | None]:
    """Bands of a bundle without a card: ``{"bands": "4-32,40", "shape": [rows, columns, C]}``."""
    try:
        spans = [_RANGE.fullmatch(part.strip()) for part in data["bands"].split(",")]
        index = [
            place
            for span in spans
            for place in range(int(span[1]), int(span[2] or span[1]) + 1)  # type: ignore[index]
        ]
        count = data["shape"][2]
    except (KeyError, TypeError, AttributeError, IndexError):
        return None, None
    return (tuple(index), count) if _are_bands(index, count, bands) else (None, None)


def _damaged(where: str) -> BoardError:
    return BoardError(f"the bundle's {where} is damaged; make the bundle again")
