"""Which bands of a cube a network is trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from edgesr.cube.cube import Cube, invalid_values
from edgesr.errors import OptionError

MIN_CORRELATION = 0.9
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def parse_bands(text: str, count: int) -> tuple[int, ...]:
    """Band indices of ``"4-32,40-55"``: from 0, both ends included, ascending, without repeats.

    Raises:
        OptionError: not of that form, or beyond the ``count`` bands of the cube.
    """
    chosen: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise OptionError(
                f"cannot read the bands {text!r}; write all, clean, or ranges such as 4-32,40-55"
            )
        first = int(match[1])
        last = int(match[2] or first)
        if first > last or last >= count:
            raise OptionError(
                f"bands {part.strip()} are not in the cube, whose {count} bands are numbered "
                f"0 to {count - 1}; choose a range inside"
            )
        chosen.update(range(first, last + 1))
    return tuple(sorted(chosen))


def format_bands(indices: Sequence[int] | np.ndarray) -> str:
    """The shortest text that :func:`parse_bands` reads back: ``"4-32,40"``."""
    parts: list[list[int]] = []
    for index in sorted(indices):
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)


def clean_bands(pixels: np.ndarray, minimum: float = MIN_CORRELATION) -> np.ndarray:
    """Bool [B]: bands that vary and correlate with **every** adjacent band at least by ``minimum``.

    Noise cannot be super-resolved and only drowns the rest; a band that its neighbours do not
    confirm is mostly noise. Adjacent means next to each other among the bands that vary.

    Args:
        pixels: training pixels [N, B], native numbers without nodata.
        minimum: smallest correlation coefficient that is kept.
    """
    values = pixels.astype(np.float64)
    values -= values.mean(axis=0)
    norms = np.linalg.norm(values, axis=0)
    scale = np.abs(pixels).max(axis=0).astype(np.float64)
    varying = np.flatnonzero(norms > 1e-9 * scale * np.sqrt(len(values)))
    keep = np.zeros(pixels.shape[1], dtype=bool)
    if varying.size < 2:
        keep[varying] = True
        return keep
    unit = values[:, varying] / norms[varying]
    correlation = (unit[:, :-1] * unit[:, 1:]).sum(axis=0)
    before = np.concatenate([correlation[:1], correlation])
    after = np.concatenate([correlation, correlation[-1:]])
    keep[varying] = np.minimum(before, after) >= minimum
    return keep


def missing_bands(cube: Cube, grid: int = 64) -> np.ndarray:
    """Bool [B]: bands that are nodata or NaN wherever another band holds a value.

    Looks at ``grid`` x ``grid`` pixels, evenly spread.
    """
    if not cube.may_hold_nodata:
        return np.zeros(cube.bands, dtype=bool)
    rows, cols = (
        np.unique(np.linspace(0, side - 1, min(grid, side)).astype(np.int64))
        for side in cube.shape[:2]
    )
    invalid = invalid_values(cube.data[rows][:, cols], cube.nodata)
    somewhere_valid = ~invalid.all(axis=2)
    if not somewhere_valid.any():
        return np.zeros(cube.bands, dtype=bool)
    return np.all(invalid[somewhere_valid], axis=0)
