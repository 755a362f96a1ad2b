"""From a run folder to a board's result, with nothing of edgesr in reach of the board."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgesr_export.native import from_bytes, to_bytes
from edgesr_export.runtime import session

from edgesr.cli.main import main
from edgesr.compress import compress
from edgesr.cube import make_scene, read_cube
from edgesr.deploy.bundle import bundle, reference_tiles
from edgesr.loading.weights import load_network

OLD_REPORT = Path(__file__).parents[1] / "report" / "report_v1.json"


@pytest.fixture
def finished(workplace, plain_export, small_recipe) -> Path:
    compress(
        replace(small_recipe, targets=("cpu", "tensorrt"), precisions=("fp32", "fp16")), Path("run")
    )
    return Path("run")


def test_the_references_are_what_the_student_answers_on_training_pixels(finished, small_recipe):
    bundle(finished)
    student = load_network(finished / "student.safetensors", small_recipe.model)
    with np.load(finished / "bundle" / "reference" / "inputs.npz") as stored:
        tiles = [torch.from_numpy(stored[name]) for name in stored.files]
    manifest = json.loads((finished / "bundle" / "manifest.json").read_text())
    assert [entry["name"] for entry in manifest["models"]] == ["fp32", "fp16"]
    with np.load(finished / "bundle" / manifest["models"][0]["outputs"]) as stored:
        for tile, name in zip(tiles, stored.files, strict=True):
            with torch.no_grad():
                np.testing.assert_array_equal(stored[name], student.model(tile).numpy())
    scene = make_scene(read_cube(small_recipe.data), scale=4, patch=16, bands="0-7")
    assert tiles[1].shape == reference_tiles(scene)[1].shape
    tuned = small_recipe.latency_tile
    assert tiles[0].shape == (1, 8, tuned, tuned)
    assert manifest["profile"]["opt"] == [1, 8, tuned, tuned]


def test_the_board_verifies_and_measures_it_without_edgesr(finished):
    bundle(finished)
    done = subprocess.run(
        [sys.executable, "-I", "run.py", "--duration", "0", "--idle", "0", "--repeats", "2"],
        cwd=finished / "bundle",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((finished / "bundle" / "result.json").read_text())
    assert {model["name"] for model in result["models"]} == {"fp32", "fp16"}
    assert "verified" in done.stderr


def test_a_run_from_before_the_report_was_typed(finished):
    """Its report has one model for TensorRT, whose file is there, and a search."""
    old = json.loads(OLD_REPORT.read_text())
    (finished / "report.json").write_text(json.dumps(old))
    bundle(finished)
    manifest = json.loads((finished / "bundle" / "manifest.json").read_text())
    assert [entry["name"] for entry in manifest["models"]] == ["fp32"]
    facts = manifest["facts"]
    assert facts["surgery"] == old["chosen"]
    assert facts["normalisation"] == old["data"]["normalisation"]
    assert facts["design"] == next(t["label"] for t in old["search"]["trials"] if t["chosen"])


def test_refusals_are_one_line(finished, capsys):
    assert main(["bundle", "nowhere"]) == 2
    assert main(["bundle", str(finished)]) == 0
    capsys.readouterr()
    assert main(["bundle", str(finished)]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "exists" in message
    assert main(["bundle", str(finished), "--overwrite"]) == 0


def test_int8_comes_with_what_it_cost(workplace, plain_export, small_recipe):
    pytest.importorskip("nncf", reason="the extra int8 is not installed")
    recipe = replace(
        small_recipe,
        targets=("cpu", "tensorrt"),
        precisions=("fp32", "int8"),
        max_psnr_drop=5.0,
        max_sam_drop=5.0,
        bundle=True,
    )
    compress(recipe, Path("run"))
    manifest = json.loads(Path("run/bundle/manifest.json").read_text())
    assert [entry["name"] for entry in manifest["models"]] == ["fp32", "int8"]
    facts = manifest["facts"]["int8"]
    assert facts["counts"]["int8"] > 0
    assert facts["validation"]["drop"]["mpsnr"] <= 5
    assert Path("run/bundle.tar.gz").is_file()


def test_a_run_for_other_targets_has_nothing_for_a_board(
    workplace, plain_export, small_recipe, capsys
):
    compress(small_recipe, Path("run"))
    assert main(["bundle", "run"]) == 2
    assert "TensorRT" in capsys.readouterr().err.splitlines()[-1]


def test_a_board_with_onnx_runtime_alone_takes_the_sensor_s_integers(
    workplace, plain_export, small_recipe
):
    """The file for TensorRT takes bytes; the one beside it answers what it does."""
    made = replace(
        small_recipe, targets=("cpu", "tensorrt"), epochs=0, rank=8, io=("normalised", "native")
    )
    compress(made, Path("run"))
    bundle(Path("run"))
    (entry,) = json.loads(Path("run/bundle/manifest.json").read_text())["models"]
    assert (entry["native"]["input_dtype"], entry["native"]["bytes"]) == ("uint16", True)
    folder = Path("run/bundle")
    tile = np.load(folder / entry["native"]["outputs"])["input0"]
    integers = session(folder / entry["native"]["integers"]["onnx"])(tile)
    by_bytes = session(folder / entry["native"]["onnx"])(to_bytes(tile))
    assert integers.dtype == np.uint16
    assert np.abs(integers.astype(int) - from_bytes(by_bytes, "uint16")).max() <= 1
    np.save("lines.npy", tile[0].transpose(1, 0, 2))
    words = ["--runtime", "onnxruntime", "--idle", "0", "--layout", "bil"]
    words += ["--live", str(Path("lines.npy").resolve())]
    done = subprocess.run(
        [sys.executable, "-I", "run.py", *words], cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "result.json").read_text())["live"]["native_model"] is True
