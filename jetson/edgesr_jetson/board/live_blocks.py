"""Lines one by one to blocks that a network takes, each with a few lines of context.

With ``context`` k a block of h lines gives h - 2k new ones; the k lines on either side are only
seen, so that no seam shows::

    block 1   [ new new new new | context ]
    block 2             [ context | new new new | context ]
    the last                      [ context | whatever is left ]
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Iterable, Iterator, Tuple

import numpy as np

from .errors import BoardError

TimedLine = Tuple[float, np.ndarray]


@dataclass(frozen=True)
class Block:
    """What a network takes at once.

    Attributes:
        data: [1, B, h, w].
        first: number of the first new line in the source.
        offset: where the new lines begin in ``data``.
        arrivals: time at which each new line came in; its length is the number of new lines.
    """

    data: np.ndarray
    first: int
    offset: int
    arrivals: tuple[float, ...]


def blocks_of_lines(lines: Iterable[TimedLine], height: int, context: int) -> Iterator[Block]:
    """Blocks [1, B, height, W] from lines [B, W]; every line is new in exactly one block.

    Raises:
        BoardError: context that leaves no new line, or fewer lines than one block.
    """
    if context < 0 or height - 2 * context < 1:
        raise BoardError(
            f"a block of {height} lines has no new ones with {context} lines of context on either "
            "side; lower --context or raise --block-lines"
        )
    recent: deque[TimedLine] = deque(maxlen=height)
    seen, done, due = 0, 0, height
    for line in lines:
        recent.append(line)
        seen += 1
        if seen == due:
            yield _block(recent, seen, done, seen - context)
            done = seen - context
            due += height - 2 * context
    if seen < height:
        raise BoardError(f"the source has {seen} lines and a block needs {height}; send more")
    if done < seen:
        yield _block(recent, seen, done, seen)


def blocks_of_tiles(tiles: Iterable[TimedLine]) -> Iterator[Block]:
    """Blocks from tiles [B, h, w], which are independent of each other."""
    first = 0
    for arrival, tile in tiles:
        yield Block(tile[None], first, 0, (arrival,) * tile.shape[1])
        first += tile.shape[1]


def _block(recent: deque[TimedLine], seen: int, start: int, stop: int) -> Block:
    oldest = seen - len(recent)
    data = np.stack([line for _, line in recent], axis=1)[None]
    arrivals = tuple(arrival for arrival, _ in recent)[start - oldest : stop - oldest]
    return Block(data, start, start - oldest, arrivals)
