"""What became of each scene so far, and ``archive.json``, which tells it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from edgesr import __version__
from edgesr.files import atomic_path
from edgesr.progress import LOGGER
from edgesr.scenes.archive.jobs import SceneJob
from edgesr.scenes.archive.model import Archive, Done, Failure
from edgesr.scenes.archive.work import Outcome

FILE = "archive.json"
SHARE = 0.02
"""Of the time, at most, in which the file is written anew while scenes are done."""


class Tally:
    """What became of each scene so far, and the file that tells it."""

    def __init__(
        self,
        path: Path,
        jobs: Sequence[SceneJob],
        engine: str,
        model: Path | None,
        done: Sequence[Done],
    ) -> None:
        self._path, self._engine, self._model = path, engine, model
        self._order = {job.id: place for place, job in enumerate(jobs)}
        self._outcomes: dict[str, Outcome] = {one.id: one for one in done}
        self._computed = self._pixels = 0
        self._began = self._written = time.monotonic()
        self._cost = 0.0

    def add(self, outcome: Outcome) -> None:
        """Add a scene; write the file if that takes little of the time."""
        self._outcomes[outcome.id] = outcome
        if isinstance(outcome, Done):
            self._computed += 1
            self._pixels += outcome.receipt.pixels
        if SHARE * (time.monotonic() - self._written) > max(self._cost, 0.2):
            self.write()

    def archive(self) -> Archive:
        """What is known now."""
        known = sorted(self._outcomes.values(), key=lambda one: self._order[one.id])
        done = [one for one in known if isinstance(one, Done)]
        failed = [one for one in known if isinstance(one, Failure)]
        return Archive(
            version=__version__,
            created=datetime.now().astimezone().isoformat(timespec="seconds"),
            model=None if self._model is None else str(self._model),
            engine=self._engine,
            seconds=round(time.monotonic() - self._began, 3),
            computed=self._computed,
            computed_pixels=self._pixels,
            waiting=len(self._order) - len(known),
            done=done,
            failed=failed,
        )

    def write(self) -> Archive:
        """Write the file and return what it holds.

        Where it cannot be written, that is said: there may be an error that tells more.
        """
        started = time.monotonic()
        archive = self.archive()
        try:
            with atomic_path(self._path) as temporary:
                content = json.dumps(archive.to_dict(), indent=1, allow_nan=False)
                temporary.write_text(content + "\n", "utf-8")
        except OSError as error:
            LOGGER.warning(f"{self._path} cannot be written: {error.strerror or error}")
        self._written = time.monotonic()
        self._cost = self._written - started
        return archive
