"""The folder of a run: refused, created, resumed and finished as a whole."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgesr.errors import DataError, OptionError
from edgesr.files import atomic_path
from edgesr.progress import tell
from edgesr.recipe import CompressRecipe
from edgesr.stored import read_json, typed

RECIPE = "recipe.toml"
REPORT = "report.json"
PAGE = "report.html"
PICTURES = "pictures.npz"
STATE = ".state"
STUDENT = "student.safetensors"
LOADER = "student.py"
ONNX = "model.onnx"
FOLDERS = ("models", "engines", "bundle")
CACHE = "__pycache__"  # of the loader, by whoever has imported it
WRITTEN = (RECIPE, STUDENT, LOADER, ONNX, REPORT, PAGE, PICTURES, *FOLDERS, "bundle.tar.gz", CACHE)


def finished_report(run: Path) -> Path:
    """Return the path of a run's report.

    Raises:
        OptionError: the folder is no finished run.
    """
    if not (run / REPORT).is_file():
        raise OptionError(f"{run} is no finished run: it has no {REPORT}; name a run folder")
    return run / REPORT


class RunFolder:
    """One run's folder.

    Nothing is written before :meth:`create`; so whatever is refused leaves no trace. Results of
    finished stages wait in ``.state`` until :meth:`finish`, so an interrupted run can resume.

    Args:
        path: the folder; None takes ``runs/<date>-<time>``.
        overwrite: replace the files of an earlier run in that folder.
        resume: go on with the interrupted run in that folder.

    Raises:
        OptionError: the folder exists and neither flag allows its use; it holds something other
            than a run; or there is nothing to resume.
    """

    def __init__(self, path: Path | None, *, overwrite: bool, resume: bool) -> None:
        if path is None:
            path = Path("runs") / time.strftime("%Y%m%d-%H%M%S")
            if resume:
                raise OptionError("--resume needs --output DIR, the folder of the interrupted run")
        self.path = path
        self._overwrite = overwrite
        self._resume = resume
        self._created = False
        self.timing: dict[str, float] = {}
        if overwrite and resume:
            raise OptionError("--overwrite and --resume contradict each other; pass one of them")
        if path.exists() and not path.is_dir():
            raise OptionError(f"--output {path} is a file; name a folder")
        used = path.is_dir() and any(path.iterdir())
        is_run = (path / RECIPE).is_file()
        if resume and not is_run:
            raise OptionError(f"there is no run to resume in {path}; leave out --resume")
        if resume and (path / REPORT).is_file() and not (path / STATE).is_dir():
            raise OptionError(f"the run in {path} is complete; leave out --resume")
        if used and not is_run:
            raise OptionError(f"{path} holds files that are no run; name a new or empty folder")
        if used and not (overwrite or resume):
            raise OptionError(f"{path} holds a run; pass --overwrite, --resume or another --output")
        if resume:
            self.timing = self._load("timing", dict[str, float]) or {}

    def create(self, recipe: CompressRecipe) -> None:
        """Make the folder and write the recipe into it.

        Raises:
            OptionError: the folder cannot be written, or the interrupted run had another recipe.
        """
        if self._resume and CompressRecipe.load(self.path / RECIPE) != recipe:
            raise OptionError(
                f"the interrupted run in {self.path} had other options; see its {RECIPE}"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if self._overwrite:
                shutil.rmtree(self.path / STATE, ignore_errors=True)
                self._remove_written()
            if not self._resume:
                recipe.save(self.path / RECIPE)  # first: it is what makes the folder a run
            (self.path / STATE).mkdir(exist_ok=True)
            self._created = True
        except OSError as error:
            raise OptionError(
                f"--output {self.path} cannot be written: {error.strerror or error}"
            ) from error

    def state(self, name: str) -> Path:
        """Return the path of a state file, which :meth:`finish` removes."""
        return self.path / STATE / name

    def remember(
        self,
        name: str,
        compute: Callable[[], Any],
        kind: Any = Any,
        holds: Callable[[Any], bool] = lambda _: True,
    ) -> Any:
        """Return the stored result of a stage, or compute and store it (as JSON).

        It comes as ``kind``, see :func:`edgesr.stored.typed`. A stored one that is damaged,
        something else, or for which ``holds`` is false, is computed again.
        """
        stored = self._load(name, kind, holds)
        if stored is not None:
            return stored
        value = compute()
        self._store(name, value)
        return typed(kind, value)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds of the block to the stage's time, across interruptions."""
        started = time.perf_counter()
        try:
            yield
        finally:
            passed = time.perf_counter() - started
            self.timing[stage] = round(self.timing.get(stage, 0.0) + passed, 3)
            if self._created:
                self._store("timing", self.timing)

    def finish(self, report: dict[str, Any]) -> None:
        """Write the report and remove the state: from now on the run is complete."""
        with atomic_path(self.path / REPORT) as temporary:
            temporary.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
        shutil.rmtree(self.path / STATE)

    def fail(self, error: Exception) -> None:
        """Keep what took long where ``error`` can be mended from outside, and say so in it.

        Options that cannot be met fail again whatever is mended: they leave nothing. Where an
        error of options has a cause, such as a full disk, the options are not at fault.
        """
        verdict = isinstance(error, OptionError) and error.__cause__ is None
        if verdict or not any((self.path / STATE).glob("*.checkpoint")):
            self.abandon()
        else:
            error.args = (f"{error}; finished stages are kept: mend this, then add --resume",)

    def abandon(self) -> None:
        """Remove what this run has written: it has failed for good."""
        shutil.rmtree(self.path / STATE, ignore_errors=True)
        self._remove_written()
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def _remove_written(self) -> None:
        for path in (self.path / name for name in WRITTEN):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _load(self, name: str, kind: Any, holds: Callable[[Any], bool] = lambda _: True) -> Any:
        path = self.state(f"{name}.json")
        if not path.exists():
            return None
        try:
            value = typed(kind, read_json(path, "the state", finite=False), path.name)
            if not holds(value):
                raise ValueError(f"{path} does not belong to this run")
            return value
        except (DataError, ValueError) as error:
            tell(f"{error}; that stage is done again")
            return None

    def _store(self, name: str, value: Any) -> None:
        path = self.state(f"{name}.json")
        try:
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(value))
        except IsADirectoryError as error:
            raise OptionError(f"{path} is a folder, where a file has to be; remove it") from error
