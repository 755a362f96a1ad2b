"""Every third-party network through ``edgesr compress`` with a search, and its files in use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgesr_export.runtime import session
from third_party import BANDS, SCALE, THIRD_PARTY
from torch import Tensor

from edgesr.cli.main import main
from edgesr.cube import read_cube
from edgesr.evaluation.cost import count
from edgesr.loading.weights import load_network
from edgesr.loading.workload import Workload, open_workload
from edgesr.recipe.recipes import CompressRecipe
from edgesr.report import validate

pytest.importorskip("optuna", reason="needs the extra 'search'")

HERE = Path(__file__).parent
SEARCHED, QUICK = ("functional",), ("unet", "msdformer")
"""Between them: no layers of its own, padding, skips, further arguments, several outputs."""

NOTHING_TO_GAIN = ("deconv3d",)  # one channel in, one out: its upsampler has rank 1
NO_ONNX = ("fourier",)  # complex weights


def but_slow(quick: tuple[str, ...]) -> list[Any]:
    """All networks; those that are not ``quick`` are tested by hand."""
    slow = pytest.mark.slow
    return [name if name in quick else pytest.param(name, marks=slow) for name in THIRD_PARTY]


BRIEF = [
    *("--epochs", 1, "--steps-per-epoch", 2, "--batch", 2, "--threads", 1),
    *("--latency-tile", 16, "--precisions", "fp32", "--targets", "cpu", "--baseline-groups", 0),
    *("--rank-target", 0.5, "--rank-criterion", "energy"),
]

LOAD = """
import importlib.util, sys
sys.modules["edgesr"] = None
import torch
spec = importlib.util.spec_from_file_location("student", "run/student.py")
student = importlib.util.module_from_spec(spec)
spec.loader.exec_module(student)
with torch.no_grad():
    torch.save([student.load()(x) for x in torch.load("tiles.pt")], "answers.pt")
"""


def run(*arguments: object) -> int:
    return main([*map(str, arguments)])


def opened(name: str) -> Workload:
    """The network with random weights in ``w.pt``, as a run opens it."""
    torch.manual_seed(0)
    torch.save(THIRD_PARTY[name]().state_dict(), "w.pt")
    return open_workload(
        CompressRecipe(data="cube.npy", model=f"third_party:{name}", weights="w.pt", threads=1)
    )


def compressed(name: str, *options: object) -> int:
    network = ("--data", "cube.npy", "--model", f"third_party:{name}", "--weights", "w.pt")
    return run("compress", *network, *BRIEF, *options, "--output", "run")


def loaded_elsewhere(tiles: list[Tensor]) -> list[Tensor]:
    """What the written ``student.py`` makes of the tiles, where there is no edgesr."""
    torch.save(tiles, "tiles.pt")
    done = subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-c", LOAD],
        env={"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers: list[Tensor] = torch.load("answers.pt")
    return answers


@torch.no_grad()
def check_files(name: str, workload: Workload, report: dict[str, Any]) -> None:
    """The student is the same network from all of its files, also at odd sizes."""
    student = load_network(Path("run/student.safetensors"), f"third_party:{name}").model
    cost = count(student, tuple(workload.example().shape))
    assert (cost.params, cost.macs) == (report["student"]["params"], report["student"]["macs"])
    real = workload.example(24)
    tiles = [real[..., :16, :16].contiguous(), real[..., :13, :11].contiguous()]
    expected = [student(tile) for tile in tiles]
    for tile, answer, loaded in zip(tiles, expected, loaded_elsewhere(tiles), strict=True):
        sides = [side * SCALE[name] for side in tile.shape[2:]]
        assert list(answer.shape) == [1, BANDS, *sides]
        torch.testing.assert_close(loaded, answer, atol=1e-5, rtol=1e-5)
    if name in NO_ONNX:
        assert report["not_exported"]
        return
    sizes = tiles if report["onnx"]["tracing"]["size"] == "free" else tiles[:1]
    network = session(Path("run/model.onnx"))
    for tile, answer in zip(sizes, expected, strict=False):
        np.testing.assert_allclose(network(tile.numpy()), answer.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", but_slow(SEARCHED))
def test_from_the_command_line_to_files_in_use(name, workplace, monkeypatch, capsys):
    workload = opened(name)
    limit = 0.7 * count(workload.model, tuple(workload.example().shape)).macs
    search = ("--max-macs", limit, "--trials", 3, "--max-psnr-drop", 5)
    if name in NOTHING_TO_GAIN:
        assert compressed(name, *search) == 2
        assert "there is nothing to gain" in capsys.readouterr().err
        assert not Path("run").exists()
        return
    with monkeypatch.context() as patch:
        patch.setattr(
            "edgesr.compress.pipeline.export_student",
            lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        assert compressed(name, *search) == 130
    assert compressed(name, *search, "--resume") == 0
    report = json.loads(Path("run/report.json").read_text())
    validate(report)
    assert report["student"]["macs"] <= limit
    check_files(name, workload, report)

    student = ("--model", f"third_party:{name}", "--weights", "run/student.safetensors")
    assert run("evaluate", "--data", "cube.npy", *student, "--threads", 1) == 0
    assert run("upscale", "cube.npy", "sr.npy", *student) == 0
    assert read_cube("sr.npy").shape == (72 * SCALE[name], 72 * SCALE[name], BANDS)
    assert run("bench", "run", "--threads", 1) == (2 if name in NO_ONNX else 0)
    assert run("report", "run") == 0


@pytest.mark.parametrize("name", but_slow(QUICK))
def test_the_upsampler_alone(name, workplace):
    workload = opened(name)
    code = compressed(name)
    if name in NOTHING_TO_GAIN:
        assert code == 2
        return
    assert code == 0
    report = json.loads(Path("run/report.json").read_text())
    validate(report)
    assert report["student"]["upsampler_params"] < report["teacher"]["upsampler_params"]
    check_files(name, workload, report)
