"""One JSON file with every result, written after each; weights and checkpoints beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from edgesr.errors import DataError, brief
from edgesr.files import atomic_path
from edgesr.locks import Lock
from edgesr.reproduce.trial import Trial
from edgesr.stored import read_json, typed

FORMAT = 1


class Store:
    """Results by the key of their trial.

    Args:
        path: the JSON file; read if it exists, so that what it holds is not done again.

    Raises:
        DataError: the file is no results file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.with_suffix(".state")
        self.content: dict[str, Any] = {"format": FORMAT, "experiments": {}, "trials": {}}
        if path.exists():
            self.content = load(path)

    @classmethod
    @contextmanager
    def locked(cls, path: Path) -> Iterator[Self]:
        """Open the store so that no other process does; the folder is made.

        Raises:
            OptionError: another process has it, or the folder cannot be written.
            DataError: the file is no results file.
        """
        new = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with Lock(path.with_name(f".{path.name}.lock"), path):
                yield cls(path)
        finally:
            with suppress(OSError):  # what was refused leaves no trace
                for folder in new:
                    folder.rmdir()

    def get(self, trial: Trial) -> dict[str, Any] | None:
        """Return the result of a trial, None before it is done."""
        return self.content["trials"].get(trial.key)

    def add(self, trial: Trial, result: dict[str, Any]) -> None:
        """Keep a result and write the file."""
        self.content["trials"][trial.key] = {"trial": trial.describe(), **result}
        self.write()

    def write(self) -> None:
        """Write the file; never half of it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(self.path) as temporary:
                temporary.write_text(dumps(self.content))
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written ({error.strerror}); choose another --output"
            ) from error

    def weights(self, trial: Trial) -> Path:
        """Return where the trained network of a trial lies, or will."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{trial.key}.safetensors"

    def checkpoint(self, trial: Trial) -> Path:
        """Return where a training that is under way keeps its state."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{trial.key}.checkpoint"


def load(path: Path) -> dict[str, Any]:
    """Read a results file; DataError when it is none."""
    advice = "choose another --output"
    content = read_json(path, "the results", advice=advice, finite=False)
    try:
        if content["format"] != FORMAT:
            raise ValueError("another format")
        typed(dict[str, dict[str, Any]], content["experiments"], "experiments")
        for key, trial in typed(dict[str, dict[str, Any]], content["trials"], "trials").items():
            typed(dict[str, float], trial["test"], f"trials.{key}.test")
            typed(float, trial["cpu_seconds"], f"trials.{key}.cpu_seconds")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not a results file of edgesr reproduce ({brief(error)}); {advice}"
        ) from error
    return dict(content)


def dumps(content: dict[str, Any]) -> str:
    """JSON with a line for each trial and row, so that files compare well."""
    lines = [f"{json.dumps(name)}: {_value(value)}" for name, value in content.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _value(value: Any) -> str:
    if isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values()):
        inner = [f"  {json.dumps(name)}: {json.dumps(item)}" for name, item in value.items()]
        return "{\n" + ",\n".join(inner) + "\n}"
    return json.dumps(value)
