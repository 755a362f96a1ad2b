"""The board's builder against a real one: TensorRT-RTX builds for a GPU that is not there."""

from __future__ import annotations

import hashlib
from types import ModuleType

import pytest
from edgesr_jetson.board.contents import Model, Profile, Tolerance
from edgesr_jetson.board.errors import BoardError
from edgesr_jetson.board.hashes import Listed
from edgesr_jetson.board.trt_build import BuildLog, BuildSettings, build, make_logger
from jetson_fakes import onnx_file

rtx = pytest.importorskip("tensorrt_rtx")

PROFILE = Profile((1, 3, 6, 5), (1, 3, 6, 5), (1, 3, 8, 10))


class BuilderForAmpere(rtx.Builder):
    """A builder whose every config aims at compute capability 8.6."""

    def create_builder_config(self):
        config = super().create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(rtx.ComputeCapability.SM86, 0)
        return config


@pytest.fixture(scope="module")
def tensorrt():
    """The module, with a logger of its own and builders that need no GPU."""
    module = ModuleType("tensorrt")
    module.__dict__.update(vars(rtx))
    module.Builder = BuilderForAmpere
    log = BuildLog()
    return module, make_logger(module, log), log


def make(tensorrt, path, precision, profile=PROFILE):
    module, logger, log = tensorrt
    log.errors.clear()
    content = path.read_bytes()
    file = Listed(path.name, path, hashlib.sha256(content).hexdigest(), len(content))
    model = Model(precision, precision, file, file, Tolerance(None, None))
    return build(module, logger, log, model, profile, BuildSettings(256, False), b"")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_it_builds(tensorrt, tmp_path, precision):
    path = onnx_file(tmp_path / "a.onnx", precision)
    plan, timing, details = make(tensorrt, path, precision)
    assert len(plan) > 1000
    assert timing
    assert details["typing"] == "strong"
    assert set(details["dla"]) == {"absent"}
    assert tensorrt[2].errors == []


def test_an_unknown_operator_is_named_with_its_layer(tensorrt, tmp_path):
    path = onnx_file(tmp_path / "a.onnx", operator="Frobnicate")
    with pytest.raises(BoardError, match="operator Frobnicate of layer mix"):
        make(tensorrt, path, "fp32")


def test_a_range_that_the_file_does_not_take(tensorrt, tmp_path):
    path = onnx_file(tmp_path / "a.onnx")
    other = Profile((1, 4, 6, 5), (1, 4, 6, 5), (1, 4, 8, 10))
    with pytest.raises(BoardError, match="takes input 1x3x-1x-1"):
        make(tensorrt, path, "fp32", other)
