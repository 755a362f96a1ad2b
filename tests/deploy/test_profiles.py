"""Profiles of what a run deployed: runtime by runtime, and what cannot be profiled here."""

from __future__ import annotations

import numpy as np
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.profile import LayerTime, Profiled
from edgesr_export.targets import TARGETS, Target
from torch import nn

from edgesr.deploy.profiles import profile_models, profiled_network
from edgesr.report.model import ProfiledNetwork
from edgesr.report.validation import typed

IMAGE = np.ones((1, 3, 4, 4), np.float32)
TIMES = {"median": 1.0, "p95": 1.0}


def model(target, precision, runtime, **changes):
    return {
        "target": target, "precision": precision, "runtime": runtime, "path": f"{target}.onnx",
        "latency_ms": TIMES, "why_not_timed": None, **changes,
    }  # fmt: skip


def profiled(folder, models):
    return profile_models(folder, models, [{"model": "tensorrt.onnx", "path": "a.engine"}],
                          nn.Conv2d(3, 3, 1), IMAGE, threads=1, runs=1)  # fmt: skip


def test_what_is_not_known_is_left_out():
    layers = (
        LayerTime("a", "Conv", 1.0, "int8", ("n",), ("body",)),
        LayerTime("b", "Reorder", 0.5),
    )
    found = profiled_network("student", Profiled(layers, 2.0, 20, 1_500_000))
    assert found == {
        "name": "student", "whole_ms": 2.0, "memory_mb": 1.5,
        "layers": [
            {"layer": "a", "op": "Conv", "ms": 1.0, "precision": "int8", "nodes": ["n"],
             "modules": ["body"]},
            {"layer": "b", "op": "Reorder", "ms": 0.5},
        ],
    }  # fmt: skip
    assert typed(found, ProfiledNetwork).sum_ms == 1.5
    assert profiled_network("x", Profiled((), 1.0, 1, None, "why"))["no_memory"] == "why"


def test_each_runtime_has_its_models_and_each_lack_its_reason(tmp_path, monkeypatch, numpy_target):
    asked = []

    def profile(self, path, precision, image, **options):
        asked.append((self.name, path.name, precision, options["engine"]))
        return Profiled((), 1.0, 1, 1)

    for name in ("cpu", "tensorrt"):
        monkeypatch.setattr(type(TARGETS[name]), "profile", profile)
    models = [
        model("cpu", "fp32", "ONNX Runtime, CPU"),
        model("cpu", "int8", "ONNX Runtime, CPU"),
        model("tensorrt", "fp16", "TensorRT"),
        model("tensorrt", "int8", "TensorRT", latency_ms=None, why_not_timed="no GPU"),
        model(numpy_target, "fp32", "ONNX reference"),
    ]
    found, absent = profiled(tmp_path, models)
    assert asked == [
        ("cpu", "cpu.onnx", "fp32", None),
        ("cpu", "cpu.onnx", "int8", None),
        ("tensorrt", "tensorrt.onnx", "fp16", tmp_path / "a.engine"),
    ]
    assert {one["runtime"]: [n["name"] for n in one["networks"]] for one in found} == {
        "ONNX Runtime, CPU": ["student fp32", "student int8"],
        "TensorRT": ["student fp16"],
        "PyTorch, CPU": ["student"],
    }
    assert absent == [
        {"what": "int8, TensorRT", "why": "no GPU"},
        {"what": "fp32, ONNX reference", "why": "the target numpy has no profiler"},
    ]


def test_an_engine_without_profiler_is_an_error(tmp_path, monkeypatch):
    def profile(self, *_, **__):
        raise ExportError("a.engine cannot be profiled: tensorrt 9.9 has no IProfiler")

    monkeypatch.setattr(type(TARGETS["tensorrt"]), "profile", profile)
    assert TARGETS["tensorrt"].has_profiler
    assert not Target.has_profiler.fget(Target())
    with pytest.raises(ExportError, match="has no IProfiler"):
        profiled(tmp_path, [model("tensorrt", "fp16", "TensorRT")])
