"""The folder of a run: refused, created, resumed, finished and replaced as a whole."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgesr.errors import DataError, OptionError
from edgesr.files import PART, atomic_path
from edgesr.locks import Lock
from edgesr.outputs import check_folder
from edgesr.progress import log
from edgesr.recipe.recipes import CompressRecipe
from edgesr.stored import read_json, typed

RECIPE = "recipe.toml"
DECISIONS = "decisions.json"
REPORT = "report.json"
PAGE = "report.html"
PICTURES = "pictures.npz"
STATE, LOCK, DRAFT = ".state", "lock", "draft"
STUDENT = "student.safetensors"
LOADER = "student.py"
ONNX = "model.onnx"
BUNDLE, ARCHIVE = "bundle", "bundle.tar.gz"
CACHE = "__pycache__"  # of the loader, by whoever has imported it
WRITTEN = (
    REPORT,  # first: without it a folder holds no finished run
    *(RECIPE, DECISIONS, STUDENT, LOADER, ONNX, PAGE, PICTURES),
    *("models", "engines", BUNDLE, ARCHIVE, CACHE),
)


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

    ::

        DIR/                what the earlier run made, until this one is complete
          .state/           results of finished stages, for --resume; gone at the end
            lock            held by the process that is at work
            recipe.toml     last of what create() writes: there is a run to resume
            draft/          what this run makes
            complete/       the same, once its report is there and the earlier run is gone

    Nothing is written before :meth:`create`; so whatever is refused leaves no trace. An earlier run
    stays untouched until :meth:`publish`, and ``report.json`` goes first and comes last there: at
    any moment the folder holds a whole run, or none and all of the new one in ``.state``.

    Args:
        path: the folder; None takes ``runs/<date>-<time>``.
        overwrite: replace an earlier run in that folder, finished or not.
        resume: go on with the interrupted run in that folder.
        inputs: files that the run reads; an ``overwrite`` must not replace them.

    Attributes:
        path: the folder.
        draft: where the run's files are made; they move to ``path`` together.

    Raises:
        OptionError: the folder exists and neither flag allows its use; it holds something other
            than a run, or an input; another process writes it; or there is nothing to resume.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        overwrite: bool,
        resume: bool,
        inputs: Sequence[Path] = (),
    ) -> None:
        if path is None:
            path = Path("runs") / time.strftime("%Y%m%d-%H%M%S")
            if resume:
                raise OptionError("--resume needs --output DIR, the folder of the interrupted run")
        self.path = path
        self._state = path / STATE
        self.draft = self._state / DRAFT
        self._complete = self._state / "complete"
        self._lock = Lock(self._state / LOCK, path)
        self._overwrite = overwrite
        self._resume = resume
        self._created = False
        self.timing: dict[str, float] = {}
        if overwrite and resume:
            raise OptionError("--overwrite and --resume contradict each other; pass one of them")
        check_folder(path, () if resume else inputs)
        self._check_links()
        self._lock.check()
        self._check()
        if resume:
            self.timing = self._load("timing", dict[str, float]) or {}

    @property
    def _interrupted(self) -> bool:
        return self.state(RECIPE).is_file()

    @property
    def is_complete(self) -> bool:
        """Whether an interrupted run lacks nothing but :meth:`publish`."""
        has_report = (self.draft / REPORT).is_file() or not self.draft.is_dir()
        return self._interrupted and has_report

    def _check_links(self) -> None:
        """Refuse a state that leads elsewhere: it is written, moved and removed as a whole."""
        for item in (self._state, *self._state.rglob("*")):
            if item.is_symlink():
                raise OptionError(f"{item} is a link, where a run keeps its own files; remove it")

    def _check(self) -> None:
        self._check_links()
        path = self.path
        finished = (path / REPORT).is_file() and (path / RECIPE).is_file()
        if self._resume and not self._interrupted:
            if finished:
                raise OptionError(f"the run in {path} is complete; leave out --resume")
            raise OptionError(f"there is no run to resume in {path}; leave out --resume")
        held = {item.name for folder in (path, self._state) for item in _items(folder)}
        is_run = finished or self._interrupted
        if not (is_run or held <= {STATE, LOCK, DRAFT}):  # these three: killed while it began
            raise OptionError(f"{path} holds files that are no run; name a new or empty folder")
        if is_run and not (self._overwrite or self._resume):
            raise OptionError(f"{path} holds a run; pass --overwrite, --resume or another --output")

    def create(self, recipe: CompressRecipe) -> None:
        """Make the folder, lock it until :meth:`release`, and keep the recipe in it.

        Raises:
            OptionError: the folder cannot be written, another process writes it, or the
                interrupted run had another recipe.
        """
        if self._resume and CompressRecipe.load(self.state(RECIPE)) != recipe:
            raise OptionError(
                f"the interrupted run in {self.path} had other options; see {self.state(RECIPE)}"
            )
        try:
            self._state.mkdir(parents=True, exist_ok=True)
            self._lock.take()
            self._check()  # again: another process may have come and gone
            if not self._resume:
                if self.is_complete:
                    self._move()  # should this run fail, that one is the earlier run
                self._clear_state()
                self.draft.mkdir()
                recipe.save(self.draft / RECIPE)
                recipe.save(self.state(RECIPE))
            self._created = True
        except OSError as error:
            raise OptionError(
                f"--output {self.path} cannot be written: {error.strerror or error}"
            ) from error

    def release(self) -> None:
        """Let other processes use the folder."""
        self._lock.release()
        with suppress(OSError):  # there is none, or it holds what waits for --resume
            self._state.rmdir()

    def state(self, name: str) -> Path:
        """Return the path of a state file, which :meth:`finish` removes."""
        return self._state / name

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
        """Write the report and replace the earlier run: from now on this one is complete."""
        with atomic_path(self.draft / REPORT) as temporary:
            temporary.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
        self.publish()

    def publish(self) -> dict[str, Any]:
        """Put the complete run into the place of the earlier one; return its report.

        Interrupted anywhere, it goes on where it was.

        Raises:
            OptionError: the files cannot be moved; then they wait for ``resume``.
        """
        try:
            self._move()
            report: dict[str, Any] = read_json(self.path / REPORT, "the report")
            shutil.rmtree(self._state)
        except OSError as error:
            raise OptionError(
                f"--output {self.path} cannot be written: {error.strerror or error}"
            ) from error
        return report

    def _move(self) -> None:
        if self.draft.is_dir():
            for part in [*self.draft.rglob(PART)]:  # of a process that was killed
                _remove(part)
            for name in WRITTEN:
                _remove(self.path / name)
            self.draft.rename(self._complete)
        if self._complete.is_dir():
            made = sorted(self._complete.iterdir(), key=lambda item: item.name == REPORT)
            for item in made:  # the report last
                item.rename(self.path / item.name)

    def fail(self, error: Exception) -> None:
        """Keep what took long where ``error`` can be mended from outside, and say so in it.

        Options that cannot be met fail again whatever is mended: they leave nothing. Where an
        error of options has a cause, such as a full disk, the options are not at fault.
        """
        verdict = isinstance(error, OptionError) and error.__cause__ is None
        trained = any(self._state.glob("*.checkpoint"))
        if not self.is_complete and (verdict or not trained):
            self.abandon()
        else:
            error.args = (f"{error}; finished stages are kept: mend this, then add --resume",)

    def abandon(self) -> None:
        """Remove what this run has written: it has failed for good. An earlier run stays."""
        self._clear_state()
        shutil.rmtree(self._state, ignore_errors=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

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
            log(f"{error}; that stage is done again")
            return None

    def _store(self, name: str, value: Any) -> None:
        path = self.state(f"{name}.json")
        try:
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(value))
        except IsADirectoryError as error:
            raise OptionError(f"{path} is a folder, where a file has to be; remove it") from error

    def _clear_state(self) -> None:
        """Remove what an interrupted run has left; first what makes it one."""
        self.state(RECIPE).unlink(missing_ok=True)
        for item in _items(self._state):
            if item != self._lock.path:
                _remove(item)


def _items(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
