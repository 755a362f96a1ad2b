"""Lines one by one to blocks that a network takes at once.

A block sees ``before`` lines above its new ones and ``after`` below them::

    block 1   [ new new new new | after ]
    block 2            [ before | new new new | after ]
    the last                          [ before | whatever is left ]
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import BoardError


@dataclass(frozen=True)
class Cut:
    """The last lines of the source, as many as a block has.

    Attributes:
        first: number of the first new line in the source.
        offset: its row in the block.
        count: new lines.
    """

    first: int
    offset: int
    count: int


class Schedule:
    """When a block is due; every line is new in exactly one.

    Args:
        height: lines of a block.

    Raises:
        BoardError: a block has no new line.
    """

    def __init__(self, height: int, before: int, after: int) -> None:
        if height - before - after < 1:
            raise BoardError(
                f"a block of {height} lines has no new ones with {before} lines of context above "
                f"and {after} below; lower --context or raise --block-lines"
            )
        self.height, self.after = height, after
        self.new = height - before - after
        self.seen = self.done = 0
        self._due = height

    def add(self, lines: int = 1) -> Cut | None:
        """Count lines that came; returns the block that they complete."""
        self.seen += lines
        if self.seen != self._due:
            return None
        self._due += self.new
        return self._cut(self.seen - self.after)

    def end(self) -> Cut | None:
        """The block of the lines that are left when the source has ended.

        Raises:
            BoardError: there are fewer lines than one block.
        """
        if self.seen < self.height:
            raise BoardError(
                f"the source has {self.seen} lines and a block needs {self.height}; send more"
            )
        return self._cut(self.seen) if self.done < self.seen else None

    def _cut(self, stop: int) -> Cut:
        cut = Cut(self.done, self.done - (self.seen - self.height), stop - self.done)
        self.done = stop
        return cut
