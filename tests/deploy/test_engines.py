"""Engines of the models: built for real where TensorRT is, else said to be absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edgesr_export.model_file import file_hash

from edgesr.deploy import build_engines


def test_without_tensorrt_the_way_out_is_named(subject, builder, monkeypatch):
    made, _ = builder().make_all(subject.source, ["tensorrt"], ["fp32"])
    monkeypatch.setattr("edgesr_export.tensorrt.available", list)
    engines, absent = build_engines(Path(), made, None)
    assert engines == []
    assert "edgesr[tensorrt]" in absent[0].why
    assert build_engines(Path(), [], None) == ([], [])


def test_an_engine_has_the_precision_of_its_model(subject, builder):
    pytest.importorskip("tensorrt_rtx", reason="the extra tensorrt is not installed")
    made, _ = builder().make_all(subject.source, ["cpu", "tensorrt"], ["fp16"])
    engines, absent = build_engines(Path(), made, "8.9")
    assert absent == []
    (engine,) = engines
    assert engine.path == "engines/sm89-fp16.engine"
    assert set(engine.layers) == {"fp16"}
    side = json.loads(Path(f"{engine.path}.json").read_text())
    assert side["compute_capability"] == engine.compute_capability == "8.9"
    assert side["onnx_sha256"] == file_hash(Path("models/tensorrt-fp16.onnx"))
    assert engine.bytes == Path(engine.path).stat().st_size
