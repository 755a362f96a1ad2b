"""Whole runs on networks that torch.export does not follow, with the real exporters."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from rich.console import Console

from edgesr.commands.bench import bench
from edgesr.compress import compress
from edgesr.compress.replay import replay
from edgesr.errors import OptionError
from edgesr.loading.weights import load_network
from edgesr.report import validate
from edgesr.report.console import render

THIRD_PARTY = '''
import torch
import torch.nn.functional as F
from small_networks import Bilinear


class Bright(Bilinear):
    """Decides by values: on bright images, which the scene has none of, it does something else."""

    def forward(self, lr):
        sr = super().forward(lr)
        return sr if lr.mean().item() < 0.99 else 0 * sr


class Table(Bilinear):
    """Makes a table in Python for each size, which any tracer freezes."""

    def forward(self, lr):
        h, w = lr.shape[2:]
        table = torch.tensor([[1 + (i + j) % 3 / 1000 for j in range(w)] for i in range(h)])
        return super().forward(lr * table)


class Numpy(Bilinear):
    """Leaves torch, so that no file can hold what it does."""

    def forward(self, lr):
        return super().forward(lr) + torch.from_numpy(0.1 * lr.detach().numpy().max(keepdims=True))


class Reflecting(Bilinear):
    """Pads by reflection, which wants more pixels than it adds."""

    def forward(self, lr):
        padded = F.pad(lr, (4, 4, 4, 4), mode="reflect")
        return super().forward(padded[..., 4:-4, 4:-4])


bright, table, leaving, reflecting = Bright, Table, Numpy, Reflecting
'''


@pytest.fixture
def run(workplace, small_recipe, monkeypatch) -> Callable[..., dict[str, Any]]:
    """Compress a third-party network into the folder ``run``."""
    (workplace / "third_party_networks.py").write_text(THIRD_PARTY)
    monkeypatch.syspath_prepend(str(workplace))

    def start(name: str, **options: Any) -> dict[str, Any]:
        chosen = {"rank": 8, "epochs": 0, **options}
        recipe = replace(small_recipe, model=f"third_party_networks:{name}", **chosen)
        report = compress(recipe, Path("run"))
        validate(report)
        assert json.loads(Path("run/report.json").read_text()) == report
        return report

    return start


def student(name: str) -> torch.nn.Module:
    return load_network(Path("run/student.safetensors"), f"third_party_networks:{name}").model


def difference(network: torch.nn.Module, image: torch.Tensor) -> float:
    """Between ``model.onnx`` in ONNX Runtime and the network."""
    session = onnxruntime.InferenceSession("run/model.onnx")
    with torch.no_grad():
        answer = network(image).numpy()
    return float(np.abs(session.run(None, {"input": image.numpy()})[0] - answer).max())


def printed(report: dict[str, Any]) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    render(report, console)
    return " ".join(console.export_text().split())


def test_a_network_that_decides_by_values_is_recorded_and_says_so(run):
    report = run("bright")
    found = report["onnx"]["tracing"]
    assert (found["how"], found["size"], list(found["differs"])) == ("recorded", "free", ["ones"])
    network = student("bright")
    image = 0.9 * torch.rand(1, 8, 11, 14)
    assert difference(network, image) < 1e-5
    assert difference(network, torch.ones_like(image)) > 0.5
    warning = "right on the real tiles tried and wrong for ones"
    assert warning in printed(report)
    assert warning in Path("run/report.html").read_text()
    assert report["deployment"]["models"][0]["max_abs_difference"] > 0.5
    assert report["onnx"]["max_abs_difference"] < 1e-5


def test_a_network_of_one_size_is_measured_by_tiles_of_that_size(run):
    report = run("table", latency_tile=12)
    assert report["onnx"]["tracing"]["size"] == [12, 12]
    assert "takes 12 x 12 pixels alone" in printed(report)
    (shape,) = {tuple(shape[1:]) for shape in report["onnx"]["inputs"]}
    assert shape == (8, 12, 12)
    assert difference(student("table"), torch.rand(1, 8, 12, 12)) < 1e-5
    table = report["deployment"]
    assert table["input_shape"] == [1, 8, 12, 12]
    for model in table["models"]:  # of windows of 6 x 18, on tiles that go on mirrored
        assert model["metrics"]["mpsnr"] == pytest.approx(
            report["student"]["metrics"]["mpsnr"], abs=0.1
        )
        assert model["latency_ms"]["median"] > 0
    assert "; --export-size HxW chooses another size" in printed(report)
    with pytest.raises(OptionError, match="12 x 12 pixels; leave out --tile"):
        bench(Path("run"), tile=16, threads=1)
    assert bench(Path("run"), threads=1)["deployment"]["input_shape"] == [1, 8, 12, 12]


def test_the_one_size_is_the_one_asked_for(run):
    """Of a network whose file could take any."""
    report = run("bright", export_size="12x10", latency_tile=64, targets="cpu,openvino")
    assert report["onnx"]["tracing"]["size"] == [12, 10]
    assert "takes 12 x 10 pixels alone, as --export-size asks" in printed(report)
    assert {tuple(shape[1:]) for shape in report["onnx"]["inputs"]} == {(8, 12, 10)}
    image = 0.9 * torch.rand(1, 8, 12, 10)
    assert difference(student("bright"), image) < 1e-5
    table = report["deployment"]
    assert table["input_shape"] == [1, 8, 12, 10]
    for model in table["models"]:
        assert model["metrics"]["mpsnr"] == pytest.approx(
            report["student"]["metrics"]["mpsnr"], abs=0.1
        )
    assert bench(Path("run"), threads=1)["deployment"]["input_shape"] == [1, 8, 12, 10]
    with pytest.raises(OptionError, match="12 x 10 pixels; leave out --tile"):
        bench(Path("run"), tile=16, threads=1)
    assert replay(Path("run"), Path("again")).other == []


def test_a_size_that_the_network_does_not_take_is_refused_before_the_work(run):
    words = r"--export-size 2x1 is no size that the network takes; 8x8 is one that it takes"
    with pytest.raises(OptionError, match=words):
        run("reflecting", export_size="2x1")
    assert not Path("run").exists()
    with pytest.raises(OptionError, match="leave out one or the other"):
        run("bright", export_size="12x12", tile_range="8:8:16")


def test_int8_and_a_bundle_of_one_size(run, monkeypatch):
    pytest.importorskip("nncf", reason="the extra int8 is not installed")
    monkeypatch.setattr(
        "edgesr_export.tensorrt.available", lambda: False
    )  # an engine takes its time
    limits = {"max_psnr_drop": 5.0, "max_sam_drop": 5.0}
    report = run("table", targets="cpu,tensorrt", precisions="fp32,int8", bundle=True, **limits)
    int8 = next(one for one in report["deployment"]["models"]
                if (one["target"], one["precision"]) == ("tensorrt", "int8"))  # fmt: skip
    assert int8["counts"]["int8"] > 0
    assert int8["validation"]["drop"]["mpsnr"] <= 5
    manifest = json.loads(Path("run/bundle/manifest.json").read_text())
    assert manifest["profile"] == {key: [1, 8, 8, 8] for key in ("min", "opt", "max")}
    words = ("-I", "run.py", "--duration", "0", "--idle", "0", "--repeats", "2")
    done = subprocess.run(
        [sys.executable, *words], cwd="run/bundle", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "verified" in done.stderr


def test_a_network_that_no_file_can_hold_still_gives_a_student(run, workplace):
    report = run("leaving", baseline_groups=8, bundle=True, targets="cpu,tensorrt")
    assert not {"onnx", "deployment", "profile"} & report.keys()
    assert "numpy" in report["not_exported"]
    names = {path.name for path in (workplace / "run").iterdir()}
    assert {"student.safetensors", "report.json", "report.html"} <= names
    assert not {"model.onnx", "models", "engines", "bundle", "bundle.tar.gz"} & names
    assert {entry["path"] for entry in report["files"]} <= names
    image = torch.rand(1, 8, 6, 7)
    network = student("leaving")
    assert network.upsampler.reduce.out_channels == 8
    with torch.no_grad():
        assert network(image).shape == (1, 8, 24, 28)
    for name in ("teacher", "student"):
        latency = report[name]["latency_ms"]
        assert (latency["runtime"], latency["threads"]) == ("PyTorch, CPU, float32", 1)
        assert latency["median"] > 0
    assert all(candidate["latency_ms"] > 0 for candidate in report["candidates"])
    sentence = "There is no ONNX file, and latencies are PyTorch's"
    assert sentence in printed(report)
    assert "There is no ONNX file" in Path("run/report.html").read_text()
    with pytest.raises(OptionError, match=r"holds no deployed models: .*numpy"):
        bench(Path("run"))


def test_a_target_without_an_operator_of_the_network_is_absent_not_the_end(run, monkeypatch):
    from edgesr_export.errors import ExportError

    from edgesr.deploy import variants as models

    original = models.convert

    def refusing(source: Path, path: Path, **options: Any) -> Any:
        if options["target"] == "tensorrt":
            raise ExportError("TensorRT does not take layer x (DFT)")
        return original(source, path, **options)

    monkeypatch.setattr(models, "convert", refusing)
    report = run("bright", targets="cpu,tensorrt", bundle=True)
    absent = {"what": "fp32 for tensorrt", "why": "TensorRT does not take layer x (DFT)"}
    assert report["deployment"]["absent"] == [absent]
    assert [model["target"] for model in report["deployment"]["models"]] == ["cpu"]
