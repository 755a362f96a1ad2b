"""How far an archive is: failures at once, and the rest as of one scene."""

from __future__ import annotations

from edgesr.errors import shown
from edgesr.progress import LOGGER
from edgesr.report.wording import plural
from edgesr.scenes.archive.model import Done
from edgesr.scenes.archive.work import Outcome
from edgesr.scenes.progress import Telling


class Progress(Telling):
    """Tells of the scenes of one call.

    Args:
        total: scenes that are to be done.
    """

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self._failed = 0

    def add(self, outcome: Outcome) -> None:
        """Count a scene."""
        if isinstance(outcome, Done):
            self._done += 1
            self._pixels += outcome.receipt.pixels
            for line in outcome.warnings:
                LOGGER.warning(f"{shown(outcome.id)}: {shown(line)}")
        else:
            self._failed += 1
            LOGGER.warning(f"{shown(outcome.id)} failed: {shown(outcome.reason)}")
        self.tell()

    def line(self) -> str:
        """``12 of 300 scenes, 3.400 M pixels/s, 1 h 20 min left, 1 failed``."""
        first = f"{self._done} of {plural(self._total, 'scene')}"
        parts = [first, *self.rate_and_rest(self._done + self._failed)]
        if self._failed:
            parts.append(f"{self._failed} failed")
        return ", ".join(parts)
