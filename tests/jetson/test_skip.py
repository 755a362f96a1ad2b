"""On an arm64 CPU onnxruntime gets half-precision grouped convolutions wrong: fp16 is left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from edgesr_jetson.bundle import make_bundle
from jetson_fakes import expected, onnx_file, tiles

ON_ARM = (
    "import platform, runpy, sys; platform.machine = lambda: 'aarch64'; "
    "runpy.run_path('run.py', run_name='__main__')"
)
QUICK = ("--repeats", "2", "--warmup", "0", "--duration", "0", "--idle", "0",
         "--runtime", "onnxruntime", "--threads", "1")  # fmt: skip


def run_on_arm(folder: Path, *arguments: str):
    return subprocess.run(
        [sys.executable, "-c", ON_ARM, *QUICK, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=120,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_fp16_is_skipped_and_the_rest_verified(bundle, validated):
    done = run_on_arm(bundle)
    assert done.returncode == 0, done.stderr
    result = validated(bundle / "result.json")
    assert result["ok"] is True
    fp32, fp16 = result["models"]
    assert fp32["status"] == "verified"
    assert fp16["status"] == "skipped"
    assert "half-precision grouped convolutions" in fp16["reason"]
    assert "latency_ms" not in fp16
    assert "skipped: onnxruntime" in done.stdout


@pytest.mark.parametrize("options", [["--models", "fp16"], ["--models", "fp16,fp32"]])
def test_a_model_that_is_named_is_held_against_its_reference(bundle, validated, options):
    done = run_on_arm(bundle, *options)
    assert done.returncode == 0, done.stderr
    statuses = {entry["status"] for entry in validated(bundle / "result.json")["models"]}
    assert statuses == {"verified"}


def test_a_bundle_of_fp16_alone_is_refused(tmp_path, validated):
    inputs = tiles((6, 5))
    files = {"fp16": onnx_file(tmp_path / "a.onnx", "fp16")}
    make_bundle(files, inputs, [expected(inputs[0])], {}, tmp_path / "b")
    done = run_on_arm(tmp_path / "b")
    assert done.returncode == 2
    assert "no model can be run here" in done.stderr
    result = validated(tmp_path / "b" / "result.json")
    assert result["ok"] is False
    assert [entry["status"] for entry in result["models"]] == ["skipped"]
