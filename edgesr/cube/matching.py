"""Whether a cube holds what a network was trained on: its bands, and numbers of the same kind."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgesr.cube.bands import format_bands
from edgesr.cube.normalise import listed
from edgesr.errors import DataError, EdgesrWarning

NEAR_NM = 5.0
"""A band of unknown width is the same one up to this distance between centres."""

Factors = np.ndarray | Sequence[float] | float | None
"""Of all bands, or one for each."""

_ANOTHER_KIND = 0.5  # share of values outside the training range from which units are suspected
_FACTOR = 3.0  # of the medians, from which other units explain that
_NOTABLE = 0.01  # share outside the training range that is worth a warning


def match_bands(
    wanted: Sequence[float] | np.ndarray | None,
    widths: Sequence[float] | np.ndarray | None,
    index: Sequence[int],
    available: np.ndarray | None,
    count: int,
    name: str,
) -> list[int]:
    """Find a network's bands in a cube.

    Where both sides know their wavelengths, a band is the one of the nearest centre, at most half
    of its width (or 5 nm, where that is unknown) away; of two as near, the one at the place that
    it had in training. Otherwise the place alone decides.

    Args:
        wanted: centres of the network's bands in nm, or None.
        widths: their full widths at half maximum in nm, or None.
        index: their places in the cube that the network was trained on.
        available: centres of the cube's bands in nm, or None.
        count: bands of the cube.
        name: of the cube, for messages.

    Returns:
        Indices into the cube, in the network's order.

    Raises:
        DataError: bands are missing; the message lists them.
    """
    if wanted is None or available is None:
        return _by_place(index, count, name)
    centres, known = np.asarray(wanted, np.float64), np.asarray(available, np.float64)
    reach = np.full(centres.size, NEAR_NM) if widths is None else np.asarray(widths) / 2
    distance = np.abs(known[None, :] - centres[:, None])
    nearest = distance.argmin(axis=1)
    rows = np.arange(centres.size)
    places = np.asarray(index)
    inside = places < count
    as_near = inside & (distance[rows, np.where(inside, places, 0)] <= distance[rows, nearest])
    chosen = np.where(as_near, places, nearest)
    missing = np.flatnonzero(distance[rows, chosen] > reach + 1e-9)
    if missing.size:
        lacking = ", ".join(f"{centres[band]:g}" for band in missing[:8])
        more = f" and {missing.size - 8} more" if missing.size > 8 else ""
        raise DataError(
            f"{name}: {missing.size} of the network's {centres.size} bands are missing: {lacking}"
            f"{more} nm; its bands lie at {known.min():g} to {known.max():g} nm: pass a cube of "
            "the sensor that the network was trained on"
        )
    shared = np.unique(centres).size - np.unique(chosen).size
    if shared > 0:
        warnings.warn(
            f"{name}: its bands are wider apart than those that the network was trained on: "
            f"{shared} of the network's {centres.size} bands repeat the one beside",
            EdgesrWarning,
            stacklevel=2,
        )
    return [int(one) for one in chosen]


def _by_place(index: Sequence[int], count: int, name: str) -> list[int]:
    if count == len(index):
        return list(range(count))
    if max(index) < count:
        return list(index)
    raise DataError(
        f"{name}: the network takes bands {format_bands(index)}, the cube has {count} bands; pass "
        "the cube that it was trained on, or train new weights with edgesr train"
    )


@dataclass(frozen=True)
class Rescale:
    """Numbers of a cube to those of the training data: ``factor * number + offset``.

    Attributes:
        factor, offset: float64 [B], or one for all bands.
    """

    factor: np.ndarray
    offset: np.ndarray

    @classmethod
    def between(
        cls,
        gain: Factors,
        offset: Factors,
        to_gain: Factors,
        to_offset: Factors,
    ) -> Rescale | None:
        """By way of physical values, which are ``gain * number + offset`` on either side.

        A gain is 1 where a side has an offset alone. None where one has neither, so that its units
        are unknown, or both say the same.
        """
        gain = 1.0 if gain is None and offset is not None else gain
        to_gain = 1.0 if to_gain is None and to_offset is not None else to_gain
        if gain is None or to_gain is None:
            return None
        ours, theirs, shift, to_shift = (
            np.asarray(0.0 if one is None else one, np.float64)
            for one in (gain, to_gain, offset, to_offset)
        )
        factor, moved = ours / theirs, (shift - to_shift) / theirs
        if np.allclose(factor, 1.0, rtol=1e-6) and np.allclose(moved, 0.0, atol=1e-6):
            return None
        return cls(factor, moved)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Numbers [..., B] of the training data as the cube has them."""
        return (values - self.offset) / self.factor


def rescale_option(factor: float) -> str:
    """What to do where numbers have to be multiplied with ``factor``, 0 if that is unknown."""
    option = f"--rescale {_rounded(factor):g}" if factor > 0 else "--rescale FACTOR,OFFSET"
    return f"pass {option}, or --rescale 1 to take them as they are"


def check_numbers(
    pixels: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    usual: np.ndarray,
    name: str,
    advice: Callable[[float], str] = rescale_option,
) -> str | None:
    """Refuse numbers of another kind than those that a network was trained on.

    Args:
        pixels: valid spectra [N, B] of the cube, in the network's bands.
        low, high: extremes [B] of the training pixels.
        usual: their median [B].
        name: of the cube, for messages.
        advice: what to do, by the likely factor.

    Returns:
        A warning where a notable share lies outside the training range; else None.

    Raises:
        DataError: so many lie outside that the units must differ; the message says by what factor.
    """
    if pixels.size == 0:
        return None
    values = pixels.astype(np.float64)
    span = high - low
    outside = (values < low - 0.05 * span) | (values > high + 0.05 * span)
    share = float(outside.mean())
    if share < _NOTABLE:
        return None
    factor = _likely_factor(np.median(values, axis=0), usual)
    if share > _ANOTHER_KIND and not 1 / _FACTOR < factor < _FACTOR:
        raise DataError(
            f"{name}: {share:.0%} of its values lie outside the training range of the network "
            f"({low.min():g} to {high.max():g}); these are {values.min():g} to {values.max():g}, "
            f"numbers of another kind{_by(factor)}: {advice(factor)}"
        )
    worst = listed(np.flatnonzero(outside.mean(axis=0) > max(_NOTABLE, share)))
    return (
        f"{name}: {share:.1%} of its values lie outside the training range of the network "
        f"({low.min():g} to {high.max():g}), most in band {worst}; they are clipped"
    )


def _likely_factor(found: np.ndarray, usual: np.ndarray) -> float:
    """What the cube's numbers have to be multiplied with to look like the training data's."""
    usable = (found != 0) & (usual != 0)
    return float(np.median(usual[usable] / found[usable])) if usable.any() else 0.0


def _by(factor: float) -> str:
    if factor <= 0:
        return ""
    small = factor > 1
    times = _rounded(factor if small else 1 / factor)
    return f", about {times:g} times too {'small' if small else 'large'}"


def _rounded(factor: float) -> float:
    """The power of ten where one is near, else two digits."""
    power = 10.0 ** round(np.log10(factor))
    return power if 0.5 < factor / power < 2 else float(f"{factor:.2g}")
