"""Ctrl-C at any moment of an export by torch.export, in a process of its own."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[2]
MOMENTS = 15
LAST = "edgesr: interrupted; finish it with the same command and --resume\n"
MARKED = """
import sys
import edgesr.cli.main, edgesr_export.tracing
export = edgesr_export.tracing.export_onnx
def marked(*arguments, **options):
    print("export begins", file=sys.__stderr__, flush=True)
    found = export(*arguments, **options)
    print("export ends", file=sys.__stderr__, flush=True)
    return found
edgesr_export.tracing.export_onnx = marked
sys.exit(edgesr.cli.main.main(sys.argv[1:]))
"""


@pytest.fixture
def command(materials) -> list[str]:
    """A run that trains nothing and exports by ``torch.export``."""
    return (
        f"compress --data {materials.cube} --weights {materials.lkca_net} --patch 16 --rank 8"
        " --epochs 0 --baseline-groups 0 --latency-tile 6 --threads 1 --targets cpu"
        " --precisions fp32 --output run"
    ).split()


def started(command: list[str]) -> subprocess.Popen[str]:
    """The command, in its first export."""
    paths = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", MARKED, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    seen = iter(process.stderr.readline, "")
    assert any(line == "export begins\n" for line in seen), process.wait()
    return process


@pytest.fixture(scope="module")
def kept() -> dict[str, float]:
    """How long an export takes here, in seconds, once it was looked at."""
    return {}


def length_of_an_export(command: list[str], kept: dict[str, float]) -> float:
    if not kept:
        with started([*command[:-1], "first"]) as process:
            begin = time.monotonic()
            assert process.stderr is not None
            assert any(line == "export ends\n" for line in iter(process.stderr.readline, ""))
            kept["seconds"] = time.monotonic() - begin
            process.communicate()
        assert process.returncode == 0
    return kept["seconds"]


def require_nothing_half_written(run: Path) -> None:
    """No report, no temporary file; and what there is of ONNX and JSON is whole."""
    assert not (run / "report.json").exists()
    for path in run.rglob("*"):
        assert ".part" not in path.name
        if path.suffix == ".onnx":
            onnx.checker.check_model(onnx.load(path), full_check=True)
        elif path.suffix == ".json":
            json.loads(path.read_text())


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_ctrl_c_within_an_export_ends_the_run_and_leaves_nothing_half_written(
    moment, command, kept, workplace, monkeypatch, tmp_path
):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    length = length_of_an_export(command, kept)
    with started(command) as process:
        time.sleep(random.Random(moment).uniform(0, length))
        process.send_signal(signal.SIGINT)
        printed, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert (printed, told.splitlines(keepends=True)[-1]) == ("", LAST)
    assert "Traceback" not in told
    assert "Exception ignored" not in told
    require_nothing_half_written(workplace / "run")
    left = {path.name for path in scratch.iterdir()}
    assert all(name.startswith("torchinductor_") for name in left), left  # torch's own cache
    if moment % 5 == 0:
        with started([*command, "--resume"]) as process:
            assert process.communicate()[1]
        assert process.returncode == 0
        assert json.loads((workplace / "run" / "report.json").read_text())["student"]
