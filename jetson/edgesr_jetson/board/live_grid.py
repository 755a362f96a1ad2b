"""A swath of any width, in the widths that an engine takes.

Columns of one width, evenly spread, overlap. Where the network's context is known and small, each
keeps its inside, and what is kept depends on nothing beyond the column::

    column 1   [ kept kept kept | context ]
    column 2              [ context | kept kept kept ]

Else neighbours fade into each other over :data:`FADE` samples. The grid depends on swath, engine
and context alone.
"""

from __future__ import annotations

from dataclasses import dataclass

FADE = 16


@dataclass(frozen=True)
class Overlap:
    """How neighbours join: they share ``size`` pixels, and fade over ``fade`` of them."""

    size: int
    fade: int


@dataclass(frozen=True)
class Column:
    """Samples ``start`` to ``start + width`` of the swath go in, ``first`` to ``stop`` come out.

    Attributes:
        fade: so many samples, from ``first`` on, fade from the column before to this one.
    """

    start: int
    first: int
    stop: int
    fade: int


@dataclass(frozen=True)
class Grid:
    """Columns of ``width`` samples that cover a swath."""

    width: int
    columns: tuple[Column, ...]


def overlap_of(context: int | None, largest: int) -> Overlap:
    """How tiles of at most ``largest`` pixels join.

    Args:
        context: pixels around a tile that its result depends on; None where that is unknown or all.
    """
    if context is not None and 4 * context <= largest:  # else most of what is computed is unused
        return Overlap(2 * context, 0)
    fade = min(FADE, largest // 4)
    return Overlap(fade, fade)


def make_grid(swath: int, smallest: int, largest: int, overlap: Overlap) -> Grid:
    """The fewest columns of ``smallest`` to ``largest`` samples that cover ``swath``.

    They are no wider than they have to be. A swath below ``smallest`` has one column that is wider
    than it.
    """
    count = 1
    if swath > largest:
        count = -(-(swath - overlap.size) // (largest - overlap.size))
    width = max(smallest, -(-(swath + (count - 1) * overlap.size) // count))
    room = max(0, swath - width)
    starts = [room * place // max(1, count - 1) for place in range(count)]
    cuts = [(after + before + width) // 2 for before, after in zip(starts, starts[1:])]
    left, right = overlap.fade // 2, overlap.fade - overlap.fade // 2
    columns = [
        Column(
            start,
            cuts[place - 1] - left if place else 0,
            cuts[place] + right if place < count - 1 else swath,
            overlap.fade if place else 0,
        )
        for place, start in enumerate(starts)
    ]
    return Grid(width, tuple(columns))
