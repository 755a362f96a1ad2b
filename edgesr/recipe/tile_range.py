"""``--tile-range MIN:OPT:MAX``: the tile sides that an engine serves, and is tuned for."""

from __future__ import annotations

import re

from edgesr.errors import OptionError
from edgesr.recipe.options import Check

LARGEST = 1 << 16
_FORM = re.compile(r"([0-9]{1,6}):([0-9]{1,6}):([0-9]{1,6})")

TileRange = tuple[int, int, int]
"""Least, tuned for, largest, in LR pixels."""


def _parsed(text: str) -> TileRange | None:
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    least, best, most = map(int, found.groups())
    return (least, best, most) if 1 <= least <= best <= most <= LARGEST else None


TILE_RANGE = Check(
    f"MIN:OPT:MAX, three sides from 1 to {LARGEST} in rising order, such as 16:64:256",
    lambda text: _parsed(text) is not None,
)


def parse_tile_range(text: str) -> TileRange:
    """Read ``16:64:256``.

    Raises:
        OptionError: it is something else.
    """
    if (found := _parsed(text)) is None:
        raise OptionError(f"--tile-range must be {TILE_RANGE.words}, not {text!r:.80}")
    return found
