from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from edgesr_export.errors import ExportError
from edgesr_export.model_file import file_hash
from edgesr_export.tensorrt.api import Api
from edgesr_export.tensorrt.cuda import Device
from edgesr_export.tensorrt.profile import Range
from edgesr_export.tensorrt.sidecar import (
    StaleEngineError,
    check_engine,
    read_side,
    side_path,
)

HERE = Device("Orin", (8, 7), free=1, total=2)


def library(name="tensorrt", version="10.3.0"):
    return Api(SimpleNamespace(__name__=name, __version__=version))


@pytest.fixture
def network(write):
    return write("y = Relu(x)")


@pytest.fixture
def engine(tmp_path, network, side_file):
    """An engine of the network with a side file that fits; the engine is never run."""
    path = tmp_path / "model.engine"
    path.write_bytes(b"an engine")
    side_path(path).write_bytes(replace(side_file, onnx_sha256=file_hash(network)).to_json())
    return path


def test_a_fitting_engine_is_accepted_and_its_side_file_survives(engine, network, side_file):
    side = check_engine(engine, network, api=library(), device=HERE)
    assert side == replace(side_file, onnx_sha256=file_hash(network))
    assert side.ranges() == {"x": Range((1, 3, 8, 8), (1, 3, 16, 16), (1, 3, 32, 32))}


@pytest.mark.parametrize(
    ("api", "device", "message"),
    [
        (library(version="10.13.2"), HERE, r"built by tensorrt 10\.3\.0, and here is .* 10\.13\.2"),
        (library("tensorrt_rtx"), HERE, r"built by tensorrt 10\.3\.0, and here is tensorrt_rtx"),
        (library(), Device("RTX 4090", (8, 9), 1, 1), r"compute capability 8\.7, and RTX 4090 has"),
        (library(), Device("Orin Nano", (8, 7), 1, 1), "timed on Orin, and here is Orin Nano"),
    ],
    ids=["version", "library", "capability", "GPU"],
)
def test_another_tensorrt_or_gpu_is_told_with_the_way_out(engine, network, api, device, message):
    with pytest.raises(StaleEngineError, match=rf"{message}.*; build it again"):
        check_engine(engine, network, api=api, device=device)


def test_another_network_is_told(engine, write):
    other = write("y = Neg(x)", name="other.onnx")
    with pytest.raises(StaleEngineError, match=r"built from another network than .*other\.onnx"):
        check_engine(engine, other, api=library(), device=HERE)
    check_engine(engine, api=library(), device=HERE)


def test_a_tampered_engine_is_told(engine, network):
    engine.write_bytes(b"an engine!")
    with pytest.raises(StaleEngineError, match="not the engine that its side file describes"):
        check_engine(engine, network, api=library(), device=HERE)


def test_an_engine_without_a_side_file_is_not_run(engine):
    side_path(engine).unlink()
    with pytest.raises(StaleEngineError, match=r"no side file model\.engine\.json"):
        check_engine(engine, api=library(), device=HERE)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"engine_sha256": "0"}', b"\xff"])
def test_a_damaged_side_file_is_one_clear_line(engine, content):
    side_path(engine).write_bytes(content)
    with pytest.raises(StaleEngineError, match="cannot be read") as caught:
        read_side(engine)
    assert "\n" not in str(caught.value)


def test_a_side_file_of_another_format_is_told(engine):
    content = json.loads(side_path(engine).read_text())
    side_path(engine).write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(StaleEngineError, match="has format 99 and 1 is read here"):
        read_side(engine)


def test_a_missing_engine_is_named(tmp_path):
    with pytest.raises(ExportError, match=r"absent\.engine does not exist; build it first"):
        check_engine(tmp_path / "absent.engine", api=library(), device=HERE)
