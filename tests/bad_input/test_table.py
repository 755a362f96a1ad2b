"""Hundreds of bad inputs over all commands: one line, exit code 2, and nothing is touched."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bad_shelf import make_shelf
from bad_table import command_lines

from edgesr.compress import compress

OLD_REPORT = Path(__file__).parents[1] / "report" / "report_v1.json"
STEP = 3
"""Of so many lines, one is tried in the suite, all in ``-m slow``."""

TIMEOUT = 300
"""Seconds of a line; a pipe that is waited at would never end."""


@pytest.fixture(scope="session")
def good(materials, small_recipe, plain_exporter, tmp_path_factory) -> dict[str, Path]:
    """What the rows name: good files, a finished run, and the shelf of bad ones."""
    shelf, run = tmp_path_factory.mktemp("shelf"), tmp_path_factory.mktemp("finished") / "run"
    make_shelf(shelf, materials.cube, materials.lkca_net, OLD_REPORT)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(materials.folder))
        patch.setattr("edgesr_export.tracing.export_onnx", plain_exporter)
        compress(replace(small_recipe, rank=8, epochs=0, baseline_groups=0), run)
    return {
        "shelf": shelf,
        "run": run,
        "cube": materials.cube,
        "weights": materials.lkca_net,
        "onnx": run / "models" / "cpu-fp32.onnx",
    }


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that hangs is stopped."""

    def stop(*_: object) -> None:
        raise TimeoutError("the command hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(TIMEOUT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def state(folders: list[Path]) -> dict[str, tuple[int, int]]:
    """Size and time of every file below some folders."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for folder in folders
        for path in folder.rglob("*")
        if not path.is_dir() and path.parent.name != "__pycache__"
    }


def lines() -> list[str]:
    found = list(dict.fromkeys(command_lines()))
    assert len(found[::STEP]) >= 300
    return found


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, marks=() if number % STEP == 0 else pytest.mark.slow, id=str(number))
        for number, line in enumerate(lines())
    ],
)
@pytest.mark.usefixtures("ended")
def test_it_is_refused(line: str, refused: Callable[..., str], good: dict[str, Path]) -> None:
    folders = [good["shelf"], good["run"], good["cube"].parent]
    before = state(folders)
    message = refused(*(word.format(**good) for word in shlex.split(line)))
    assert message.strip().isprintable(), message
    assert state(folders) == before


@pytest.mark.parametrize("variable", ["RANK", "WORLD_SIZE", "LOCAL_RANK"])
@pytest.mark.parametrize("text", ["abc", "-1", "", "1.5", "9" * 5_000])
def test_an_environment_that_is_not_torchrun_s(refused_train, monkeypatch, variable, text) -> None:
    monkeypatch.setitem(os.environ, variable, text)
    assert variable in refused_train()
