"""The command line: help without heavy imports, exit codes, and two real processes."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from edgesr_export.targets import TARGETS
from safetensors import safe_open
from safetensors.torch import load_file

from edgesr import __version__
from edgesr.cli.main import main
from edgesr.compress import compress
from edgesr.errors import OptionError
from edgesr.loading.weights import load_network
from edgesr.recipe.options import as_text, default_of, option_name
from edgesr.recipe.recipes import (
    AnalyzeRecipe,
    CompressRecipe,
    TrainRecipe,
    WeightsRecipe,
)
from edgesr.report import validate

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = {
    "compress": CompressRecipe,
    "analyze": AnalyzeRecipe,
    "train": TrainRecipe,
    "evaluate": WeightsRecipe,
    "upscale": None,
    "export": None,
    "engine": None,
    "info": None,
}
LIGHT = """
import contextlib, io, runpy, sys
for arguments in ([], *([name] for name in {names})):
    sys.argv = ["edgesr", *arguments, "--help"]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as text:
        runpy.run_module("edgesr", run_name="__main__", alter_sys=True)
    assert "usage: edgesr" in text.getvalue()
sys.argv = ["compress", "--help"]
with contextlib.suppress(SystemExit):
    runpy.run_module("edgesr.compress", run_name="__main__", alter_sys=True)
print(*sorted(sys.modules), file=sys.stderr)
"""


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment(), **options
    )


def environment() -> dict[str, str]:
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def test_help_imports_nothing_heavy():
    finished = python("-c", LIGHT.format(names=list(COMMANDS)))
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("usage: edgesr compress [options]")
    modules = finished.stderr.split()
    loaded = {name.split(".")[0] for name in modules}
    assert "edgesr" in loaded
    own = {name.split(".")[1] for name in modules if name.startswith("edgesr_export.")}
    assert own <= {
        "errors",
        "interrupts",
        "registry",
        "targets",
    }  # the names of targets are choices
    heavy = "torch numpy scipy h5py rasterio onnx onnxruntime safetensors tensorly rich matplotlib"
    heavy += " openvino nncf tensorrt onnxscript"
    assert not loaded & {*heavy.split(), "jsonschema", "msgspec", "tomli_w", "psutil"}


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def entries(text: str) -> dict[str, str]:
    """Help text of every option on one line, by its name."""
    found = re.split(r"\n  (--[a-z-]+)", text.split("\n\nExample:")[0])
    return {
        name: " ".join(body.split()) for name, body in zip(found[1::2], found[2::2], strict=True)
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_option_with_its_default_and_an_example(command, capsys):
    text = help_of(command, capsys)
    assert f"Example: edgesr {command} " in text
    assert max(map(len, text.splitlines())) <= 100
    recipe = COMMANDS[command]
    shown = entries(text)
    for item in fields(recipe) if recipe else ():
        entry = shown[option_name(item.name)]
        assert f"\n{item.metadata['group']}:\n" in text
        default = default_of(item)
        if default not in (None, "", (), False):
            assert f"(default: {as_text(default)})" in entry


@pytest.mark.parametrize("command", ["compress", "export"])
def test_help_lists_the_targets_that_are_registered(command, capsys, numpy_target):
    shown = entries(help_of(command, capsys))
    text = shown["--target" if command == "export" else "--targets"].replace(",", ", ")
    assert {*TARGETS} <= {*re.findall(r"\w+", text)}
    if command == "compress":
        assert numpy_target in shown["--runtime"]


def test_general_help_lists_the_commands_and_the_version(capsys):
    for argument, expected in (("--help", [*COMMANDS, "Example"]), ("--version", [__version__])):
        with pytest.raises(SystemExit) as stop:
            main([argument])
        assert stop.value.code == 0
        written = capsys.readouterr().out
        assert all(word in written for word in expected)


def test_an_unknown_option_points_to_the_help_of_its_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--nonsense", "3"])
    assert stop.value.code == 2
    line = (
        "edgesr evaluate: error: unrecognized arguments: --nonsense 3; see edgesr evaluate --help"
    )
    assert capsys.readouterr().err == f"{line}\n"


def test_options_override_a_recipe_file(workplace, monkeypatch):
    CompressRecipe(rank=16, seed=3, data="a.npy").save(workplace / "recipe.toml")
    received = []

    def note(wanted: CompressRecipe, *_: Any, **__: Any) -> dict[str, Any]:
        received.append(wanted)
        return {"folder": "run"}

    monkeypatch.setattr("edgesr.compress.compress", note)
    monkeypatch.setattr("edgesr.report.render", lambda _: None)
    assert main(["compress", "--recipe", "recipe.toml", "--seed", "4", "--qat"]) == 0
    assert received == [CompressRecipe(rank=16, seed=4, data="a.npy", qat=True)]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OptionError("two\nlines"), 2, "error: two lines"),
        (MemoryError(), 2, "error: not enough memory; choose a smaller --patch or --batch"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.onnx"),
            2,
            "error: [Errno 28] No space left on device: 'a.onnx'; free some space;"
            " finish it with the same command and --resume",
        ),
        (KeyboardInterrupt(), 130, "interrupted; finish it with the same command and --resume"),
    ],
)
def test_what_ends_a_command_early(monkeypatch, capsys, error, code, line):
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("edgesr.compress.compress", fail)
    assert main(["compress"]) == code
    assert capsys.readouterr().err == f"edgesr: {line}\n"


def test_a_fault_of_the_program_is_not_dressed_up(monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("edgesr.compress.compress", fail)
    with pytest.raises(ZeroDivisionError):
        main(["compress"])


def test_a_refusal_in_a_process_of_its_own(tmp_path):
    """No warning of a library joins the one line."""
    np.save(tmp_path / "plane.npy", np.zeros((4, 4)))
    finished = python("-m", "edgesr", "info", "plane.npy", cwd=tmp_path)
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert len(finished.stderr.splitlines()) == 1
    assert "but a cube has three" in finished.stderr


def test_info_needs_no_torch(materials):
    program = (
        "import sys; from edgesr.cli.main import main; main(sys.argv[1:]);"
        " assert 'torch' not in sys.modules"
    )
    finished = python("-c", program, "info", str(materials.cube))
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""


def test_info(materials, capsys):
    assert main(["info", str(materials.cube), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["shape"] == {"height": 72, "width": 72, "bands": 12}
    assert main(["info", str(materials.cube)]) == 0
    assert "72 x 72 pixels, 12" in capsys.readouterr().out


# --- python -m edgesr.compress -----------------------------------------------------------------


@pytest.fixture(scope="module")
def finished_run(materials, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The published network, compressed by a process of its own."""
    folder = tmp_path_factory.mktemp("process")
    options = (
        f"--data {materials.cube} --weights {materials.lkca_net} --patch 16 --groups 8"
        " --epochs 1 --steps-per-epoch 2 --batch 2 --latency-tile 6 --threads 1 --output run"
        " --targets cpu,tensorrt --precisions fp32"
    )
    return folder / "run", python("-m", "edgesr.compress", *options.split(), cwd=folder)


def test_the_process_succeeds_and_sums_up(finished_run):
    folder, process = finished_run
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.splitlines()) < 75
    report = json.loads((folder / "report.json").read_text())
    assert f"{report['student']['metrics']['mpsnr']:.3f}" in process.stdout
    for name in ("student.safetensors", "model.onnx", "recipe.toml", "report.json"):
        assert (folder / name).is_file()
    assert "Traceback" not in process.stderr


def test_its_report_holds_what_the_files_hold(finished_run, materials):
    folder, _ = finished_run
    report = json.loads((folder / "report.json").read_text())
    validate(report)
    tensors = load_file(folder / "student.safetensors")
    assert report["student"]["params"] == sum(value.numel() for value in tensors.values())
    assert report["student"]["model"] == "lkca_net"
    assert tensors["upsampler.weight"].shape == (12 * 16, 16 // 8, 3, 3)
    assert report["student"]["upsampler_params"] == 12 * 16 * 2 * 9 + 12 * 16
    assert report["teacher"]["upsampler_params"] == 12 * 16 * 16 * 9 + 12 * 16
    assert report["paper_baseline"]["groups"] == 8  # of the same network, learnt as published
    both = [report[name]["metrics"]["mpsnr"] for name in ("paper_baseline", "student")]
    assert both[0] == pytest.approx(both[1], abs=0.1)
    assert report["student"]["latency_ms"]["threads"] == 1
    assert report["student"]["latency_ms"]["input_shape"] == [1, 12, 6, 6]


def test_its_onnx_file_computes_what_its_weights_compute(finished_run):
    """On an odd size and batch that the export has not seen."""
    folder, _ = finished_run
    student = load_network(folder / "student.safetensors").model
    image = torch.rand(3, 12, 7, 11, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    with torch.no_grad():
        expected = student(image)
    answered = torch.from_numpy(session.run(None, {"input": image.numpy()})[0])
    torch.testing.assert_close(answered, expected, rtol=0, atol=1e-4)


def test_its_student_is_evaluated_alike_by_the_next_command(finished_run, materials, capsys):
    folder, _ = finished_run
    report = json.loads((folder / "report.json").read_text())
    options = f"--data {materials.cube} --weights {folder / 'student.safetensors'} --patch 16"
    assert main(["evaluate", *options.split(), "--threads", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["network"] == pytest.approx(report["student"]["metrics"], rel=1e-9)
    assert told["bicubic"] == pytest.approx(report["bicubic"]["metrics"], rel=1e-9)
    assert told["data"]["normalisation"] == report["data"]["normalisation"]


# --- Ctrl-C ------------------------------------------------------------------------------------


WITHOUT_TRACING = """
import sys
sys.path.append(sys.argv.pop(1))
import conftest, edgesr.cli.main, edgesr_export.tracing
edgesr_export.tracing.export_onnx = conftest._write_plainly
sys.exit(edgesr.cli.main.main(sys.argv[1:]))
"""


def until(lines: Iterator[str], start: str) -> str:
    seen = []
    for line in lines:
        seen.append(line)
        if line.startswith(start):
            return line
    raise AssertionError("".join(seen))


def test_ctrl_c_leaves_a_run_that_resume_completes(
    workplace, materials, small_recipe, plain_export, capsys
):
    recipe = replace(small_recipe, rank=8, epochs=60)
    recipe.save(workplace / "wanted.toml")
    command = ["compress", "--recipe", "wanted.toml", "--output", "run"]
    variables = environment()
    variables["PYTHONPATH"] += os.pathsep + str(materials.folder)
    process = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_TRACING, str(REPOSITORY / "tests"), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with process:
        assert process.stderr is not None
        until(process.stderr, "epoch 2/60")
        process.send_signal(signal.SIGINT)
        last = process.stderr.read().splitlines()[-1]
        assert process.wait() == 130
    assert last == "edgesr: interrupted; finish it with the same command and --resume"
    assert (workplace / "run/.state/recipe.toml").is_file()
    assert not (workplace / "run/report.json").exists()

    capsys.readouterr()
    assert main([*command, "--resume"]) == 0
    assert "epoch 0/60" not in capsys.readouterr().err
    whole = compress(recipe, Path("whole"))
    report = json.loads((workplace / "run/report.json").read_text())
    assert report["student"]["metrics"] == whole["student"]["metrics"]
    for name in ("student.safetensors", "recipe.toml"):
        assert (workplace / "run" / name).read_bytes() == (workplace / "whole" / name).read_bytes()
    with safe_open(workplace / "run/student.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["edgesr"])["training"]["best"]["epoch"] >= 1
