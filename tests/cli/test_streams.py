"""Long commands whose stdout or stderr is closed or full: the work is done all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from edgesr.cli.main import main

REPOSITORY = Path(__file__).resolve().parents[2]
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
UNPRINTED = "edgesr: error: stdout cannot be written ([Errno 28] No space left on device); all else"

ARGUMENTS = {
    "compress": "compress --data {cube} --weights {lkca_net} --patch 16 --rank 8 --epochs 0"
    " --baseline-groups 0 --latency-tile 6 --threads 1 --targets cpu --precisions fp32"
    " --output run",
    "upscale": "upscale {cube} high.npy --model {lkca_net} --threads 1",
    "archive": "archive scenes out --model {lkca_net} --threads 1",
    "archive with a worker": "archive scenes out --model {lkca_net} --threads 1 --workers 1",
}


@pytest.fixture
def arguments(workplace, materials) -> Callable[[str], list[str]]:
    """The words of a command, on files in the current folder."""
    Path("scenes").mkdir()
    np.save("scenes/a.npy", np.load(materials.cube)[:24, :20])

    def words(name: str) -> list[str]:
        return [word.format(**vars(materials)) for word in ARGUMENTS[name].split()]

    return words


def require_whole(name: str) -> None:
    """What a command makes is there, and nothing else is: no state, no temporary file."""
    if name == "compress":
        assert json.loads(Path("run/report.json").read_text())["student"]
        assert not Path("run/.state").exists()
    elif name == "upscale":
        assert np.load("high.npy").shape == (288, 288, 12)
        assert {path.name for path in Path().iterdir()} == {"scenes", "high.npy"}
    else:
        told = json.loads(Path("out/archive.json").read_text())
        assert [len(told[key]) for key in ("done", "failed")] == [1, 0]
        assert Path("out/a.tif").stat().st_size > 1000


@full
@pytest.mark.parametrize("name", ["upscale", "archive"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_stream_costs_no_pixel(name, stream, arguments, monkeypatch, capsys):
    words = arguments(name)
    with (
        suppress(OSError),  # of closing it
        Path("/dev/full").open("w") as gone,
        monkeypatch.context() as patch,
    ):
        patch.setattr(sys, stream, gone)
        code = main(words)
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    assert code == (4 if stream == "stdout" else 0)
    assert [line.startswith(UNPRINTED) for line in told.err.splitlines()[-1:]] == [True] * (
        stream == "stdout"
    )
    require_whole(name)


@pytest.mark.slow
@full
@pytest.mark.parametrize(
    "redirected",
    [">/dev/full", ">&-", "2>/dev/full", "2>&-", ">&- 2>&-", ">/dev/full 2>/dev/full", "<&- >&-"],
)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_child_whose_streams_are_gone_does_its_work(name, redirected, arguments):
    done = shell(arguments(name), redirected)
    assert done.returncode == (4 if ">/dev/full" in redirected.split() else 0), done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    if redirected == ">/dev/full":
        assert lines[-1].startswith(UNPRINTED)
    elif "2>" in redirected:
        assert lines == []
    else:
        assert "error" not in done.stderr
    require_whole(name)


@pytest.mark.slow
@full
@pytest.mark.parametrize("redirected", [">&-", "2>/dev/full", ">&- 2>&-"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_refusal_keeps_its_code(name, redirected, arguments):
    words = arguments(name)
    spoiled = [*words, "--nodata", "none"] if name != "compress" else [*words, "--rank", "0"]
    done = shell(spoiled, redirected)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == (0 if "2>" in redirected else 1)
    assert {path.name for path in Path().iterdir()} == {"scenes"}


def shell(words: list[str], redirected: str) -> subprocess.CompletedProcess[str]:
    """``edgesr`` with these words in a shell that redirects its streams."""
    command = f"exec '{sys.executable}' -m edgesr {' '.join(words)} {redirected}"
    paths = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        ["/bin/sh", "-c", command],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
