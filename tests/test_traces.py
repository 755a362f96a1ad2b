"""Nobody is told and nothing is left behind: the kernel watches whole commands in a new home."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]
ROOTS = (REPOSITORY, REPOSITORY / "export", REPOSITORY / "jetson")
KNOWN = ("home/.cache/matplotlib/fontlist", "home/.config/matplotlib", "tmp/torchinductor_")
"""What README says stays of matplotlib and of torch, beside the output."""

TELLS = """
import ctypes, os, socket
from pathlib import Path
if os.fork() == 0:
    ctypes.CDLL(None).socket(2, 1, 0)
    os._exit(0)
os.wait()
try:
    socket.getaddrinfo("localhost.invalid", 80)
except OSError as error:
    print(type(error).__name__)
(Path.home() / ".cache").mkdir()
(Path.home() / ".cache" / "id").write_text("1")
"""


def test_the_watch_sees_compiled_code_children_names_and_files(watched):
    traces = watched("-c", TELLS)
    assert traces.code == 0, traces.errors
    assert traces.output == "gaierror\n"
    assert {line.split()[0] for line in traces.sockets} == {"AF_INET"}
    assert len(traces.sockets) >= 2
    assert traces.files == {"home/.cache/id"}


@pytest.mark.parametrize(
    "package", ["edgesr", "edgesr_export", "benchmarks", "edgesr_jetson.board"]
)
def test_onnxruntime_keeps_still_after_any_of_our_packages(package, watched, tmp_path):
    alone = watched("-c", "import onnxruntime")
    if not alone.files:
        pytest.skip("this ONNX Runtime keeps still by itself")
    shutil.rmtree(tmp_path / "around")
    assert_clean(watched("-c", f"import {package}, onnxruntime", path=ROOTS))


def assert_clean(traces, *outputs):
    """A command ended well, opened no socket, and left its outputs and nothing that is not known.

    An output is a file, or a folder with a slash at its end.
    """
    assert traces.code == 0, traces.errors
    assert traces.sockets == []
    made = tuple(f"work/{output}" for output in outputs)
    for output in made:
        assert any(file.startswith(output) for file in traces.files), (output, traces.files)
    assert not {file for file in traces.files if not file.startswith(made + KNOWN)}


@pytest.fixture
def edgesr(materials, watched):
    """Run a command of edgesr, watched; it may import the network of the small job."""
    return lambda *words: watched("-m", "edgesr", *words, path=(*ROOTS, materials.folder))


@pytest.fixture
def compressed(small_recipe, edgesr, tmp_path):
    """The traces of a compression for every target, int8 too, into ``work/run``."""
    pytest.importorskip("nncf")
    pytest.importorskip("openvino")
    recipe = replace(
        small_recipe,
        **{"method": "lowrank", "rank": 8, "epochs": 0, "init": "weights"},
        **{"precisions": ("fp32", "int8"), "targets": ("cpu", "tensorrt", "openvino")},
        **{"max_psnr_drop": 40.0, "max_sam_drop": 90.0},
    )
    recipe.save(tmp_path / "recipe.toml")
    return edgesr("compress", "--recipe", tmp_path / "recipe.toml", "--output", "run")


def test_a_compression_leaves_its_folder_alone(compressed):
    assert_clean(compressed, "run/")
    assert {"work/run/report.json", "work/run/models/tensorrt-int8.onnx"} <= compressed.files


@pytest.mark.slow
def test_no_other_command_leaves_more_than_its_output(
    compressed, edgesr, watched, materials, tmp_path
):
    pytest.importorskip("tensorrt_rtx")
    pytest.importorskip("optuna")
    low = tmp_path / "low.npy"
    np.save(low, np.load(materials.cube)[:16, :16, :8])
    ours = ("--model", "small_networks:bilinear")
    scene = ("--data", materials.cube, "--patch", 16)
    taught = (*scene, "--weights", materials.lkca_net)
    brief = ("--runtime", "onnxruntime", "--threads", 1, "--repeats", 3, "--duration", 0.1)
    student, tensorrt = "run/student.safetensors", "run/models/tensorrt-fp32.onnx"
    made = ["run/"]
    for words, output in (
        (("info", low), None),
        (("evaluate", *taught), None),
        (("bench", "run"), None),
        (("upscale", low, "high.npy", "--weights", student, *ours), "high.npy"),
        (("analyze", *taught, "--output", "figures"), "figures/"),
        (("report", "run", "--output", "page.html"), "page.html"),
        (("export", "run/model.onnx", "--target", "cpu", "--precision", "fp16", "--profile",
          "--output", "half.onnx"), "half.onnx"),
        (("engine", tensorrt, "--precision", "fp32", "--sm", 86, "--output", "fp32.engine"),
         "fp32.engine"),
        (("train", *scene, "--bands", "0-7", "--epochs", 1, "--steps-per-epoch", 1, "--batch", 1,
          "--output", "trained.safetensors"), "trained.safetensors"),
        (("compress", *taught, "--search", "--trials", 2, "--epochs", 1, "--steps-per-epoch", 1,
          "--batch", 1, "--latency-tile", 8, "--precisions", "fp32", "--targets", "cpu",
          "--output", "searched"), "searched/"),
        (("bundle", "run"), "run/bundle/run.py"),
    ):  # fmt: skip
        made += [output] if output else []
        assert_clean(edgesr(*map(str, words)), *made)
    board = watched("run/bundle/run.py", *map(str, brief))
    assert_clean(board, *made, "result.json")
