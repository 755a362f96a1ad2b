"""Engines built for real by tensorrt_rtx, which needs no GPU for it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgesr_export.errors import ExportError
from edgesr_export.fp16 import to_fp16
from edgesr_export.int8 import Quality, quantize
from edgesr_export.onnx import export_onnx
from edgesr_export.tensorrt import (
    PrecisionError,
    Settings,
    UnsupportedOperatorError,
    build,
    check_engine,
    side_path,
)
from edgesr_export.tensorrt import builder as builder_module
from edgesr_export.tensorrt.messages import KNOWN_WARNINGS, Messages
from torch import nn

from edgesr.loading.signature import Call, adapt

PROFILE = {"input": ((1, 32, 8, 8), (1, 32, 16, 16), (2, 32, 32, 32))}


def quiet(**settings):
    """Options of a build for the usual GPU that says nothing."""
    return {"compute_capability": "8.6", "settings": Settings(progress=False, **settings)}


QUIET = quiet()
DOUBLE = "y = Add(x, x)"


@pytest.fixture(autouse=True)
def _rtx(rtx):
    """Every test here builds."""


def compute_layers(path):
    kinds = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    return [node for node in onnx.load(path).graph.node if node.op_type in kinds]


@pytest.mark.parametrize("capability", ["8.6", "8.9"])
@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("lkca_net", "fp32"),
        ("lkca_net", "fp16"),
        ("lkca_net", "int8"),
        ("lowrank", "fp32"),
        ("lowrank", "fp16"),
        ("lowrank", "int8_fp16"),
        ("grouped", "fp16"),
        ("grouped", "int8_fp16"),
        ("dacn", "fp32"),
        ("dacn", "fp16"),
    ],
)
def test_an_engine_of_every_network_has_the_precision_asked_for(
    files, tmp_path, name, precision, capability
):
    source = files(name, precision)
    expect = precision.split("_")[0]
    result = build(
        source,
        tmp_path / "model.engine",
        expect=expect,
        compute_capability=capability,
        profile=PROFILE if name == "lkca_net" else None,
        settings=Settings(progress=False),
    )
    side = json.loads(result.side_file.read_text())
    assert side["engine_sha256"] == hashlib.sha256(result.engine.read_bytes()).hexdigest()
    assert side["onnx_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert side["compute_capability"] == capability
    assert all(side["warnings"].values()), "a warning without a reason"
    assert (side["strongly_typed"], side["tf32"]) == (True, False)

    found = {layer: both["obtained"] for layer, both in side["precision"].items()}
    assert found == {layer: both["asked"] for layer, both in side["precision"].items()}
    assert len(found) == len(compute_layers(source)) > 10
    if expect == "int8":  # all but the bicubic one
        rest = {"int8_fp16": "fp16", "int8": "fp32"}[precision]
        assert sorted(found.values()) == sorted([rest, *["int8"] * (len(found) - 1)])
    else:
        assert set(found.values()) == {expect}
    kept = [name for name in side["kept_in_float32"] if "norm" in name or "mean" in name]
    assert len(kept) == {"lkca_net": 4, "dacn": 6}.get(name, 4) * ("fp16" in precision)


@pytest.fixture(scope="module")
def int8_of(files, tmp_path_factory):
    """The int8 file of a network by the project's own quantiser, each made once."""
    if importlib.util.find_spec("nncf") is None:
        pytest.skip("NNCF is not here: install the extra 'int8'")
    folder = tmp_path_factory.mktemp("int8")
    tiles = [np.random.default_rng(0).random((1, 32, 16, 16), dtype=np.float32)]
    quality = Quality(lambda _: {"mpsnr": 30.0, "sam": 1.0}, 1, 1)

    @cache
    def made(name):
        path = folder / f"{name}.onnx"
        return quantize(files(name), path, tiles, target="tensorrt", quality=quality)

    return made


@pytest.mark.parametrize("capability", ["8.6", "8.9"])
@pytest.mark.parametrize("name", ["dacn", "dacn_lowrank"])
def test_dacn_and_its_student_have_int8_engines(int8_of, tmp_path, name, capability):
    result = int8_of(name)
    side = build(
        result.path,
        tmp_path / "m.engine",
        expect="int8",
        compute_capability=capability,
        settings=Settings(progress=False),
    ).side
    found = {layer: both["obtained"] for layer, both in side.precision.items()}
    assert {layer for layer, kind in found.items() if kind == "int8"} == set(result.quantised)
    floats = [layer for layer in result.layers if layer.precision != "int8"]
    assert {layer.reason for layer in floats} == {"both factors are computed"}  # attention
    assert sum("transposed" in layer.kind for layer in result.layers) == 2


def test_two_builds_for_two_gpus_differ(files, tmp_path):
    """Otherwise the compute capability did not reach the builder."""
    engines = [
        build(
            files("grouped", "fp16"),
            tmp_path / f"{capability}.engine",
            expect="fp16",
            compute_capability=capability,
            settings=Settings(progress=False),
        ).engine.read_bytes()
        for capability in ("8.6", "7.5")
    ]
    assert engines[0] != engines[1]


def test_the_report_of_layers_is_whole(files, tmp_path):
    """Every ONNX node that computes on pixels went into a layer of the engine."""
    source = files("lkca_net", "fp16")
    side = build(source, tmp_path / "m.engine", expect="fp16", profile=PROFILE, **QUIET).side
    assert side.precision_source == "builder report"
    named = {node for layer in side.layers for node in layer["nodes"]}
    nodes = {node.name for node in onnx.load(source).graph.node}
    unseen = {re.sub(r"\.cast$", "", name) for name in nodes - named}
    assert len(unseen) <= 4, unseen  # transposes and casts that vanish
    norms = [layer for layer in side.layers if "node_layer_norm" in layer["nodes"]]
    assert [layer["inputs"] for layer in norms] == [("fp16",)]  # the cast to float32 is within


def test_an_engine_that_came_out_otherwise_is_refused_and_not_written(files, tmp_path, monkeypatch):
    """TensorRT#4590: half precision asked for, float32 built, nothing said."""
    source = files("grouped")
    asked = dict.fromkeys([node.name for node in compute_layers(source)], "fp16")
    monkeypatch.setattr(builder_module, "requested", lambda model: asked)
    with pytest.raises(PrecisionError, match=r"17 of 17 layers are not .*fp32 for fp16"):
        build(source, tmp_path / "model.engine", expect="fp16", **QUIET)
    assert not any(tmp_path.iterdir())


def test_a_builder_that_does_not_obey_the_file_is_caught(files, tmp_path):
    """RTX 1.7 turns a float32 convolution between two casts into float16: never silently."""
    layer = compute_layers(files("grouped"))[3].name
    path = to_fp16(files("grouped"), tmp_path / "mixed.onnx", keep=[layer]).path
    try:
        side = build(path, tmp_path / "m.engine", expect="fp16", **QUIET).side
    except PrecisionError as error:
        assert f"({layer} fp16 for fp32)" in str(error)  # noqa: PT017
        assert not (tmp_path / "m.engine").exists()
    else:
        assert side.precision[layer] == {"asked": "fp32", "obtained": "fp32"}


@pytest.mark.parametrize(
    ("precision", "expect", "message"),
    [
        ("fp32", "fp16", r"fp16 was asked for and no layer of the file is typed so \(17 fp32\)"),
        ("fp32", "int8", r"int8 was asked for and no layer"),
        ("fp16", "fp32", r"fp32 was asked for and no layer|typed otherwise, such as .*fp16"),
        ("int8", "fp32", r"typed otherwise, such as .*int8"),
        ("fp32", "fp8", r"a precision is one of fp32, fp16, int8, got 'fp8'"),
    ],
)
def test_a_file_of_another_precision_is_refused_before_the_build(
    files, tmp_path, precision, expect, message
):
    with pytest.raises(ExportError, match=message):
        build(files("grouped", precision), tmp_path / "m.engine", expect=expect, **QUIET)


@pytest.mark.parametrize(
    ("body", "values", "operator", "message"),
    [
        (
            'y = Resize<mode="cubic", antialias=1>(x, , s)',
            {"s": np.array([1, 1, 0.5, 0.5], np.float32)},
            "Resize",
            r"layer Resize_0 \(Resize with antialias=1\); use --target cpu, where ONNX Runtime",
        ),
        ("y = Bernoulli(x)", {}, "Bernoulli", r"no such operator; replace it before the export"),
        ("y = com.acme.Sharpen(x)", {}, "com.acme.Sharpen", r"\(com\.acme\.Sharpen\): it has no"),
    ],
)
def test_an_operator_that_it_does_not_take_is_named_with_a_way_out(
    write, tmp_path, body, values, operator, message
):
    path = write(body, values, outputs="float[a, b, c, d] y")
    with pytest.raises(UnsupportedOperatorError, match=message) as caught:
        build(path, tmp_path / "m.engine", expect="fp32", **QUIET)
    assert caught.value.operator == operator
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_a_warning_of_the_parser_is_an_error_unless_it_is_accepted(write, tmp_path):
    """TensorRT takes uint8 for int8, which halves the range, and warns."""
    body = "q = QuantizeLinear(x, s, z)\n y = DequantizeLinear(q, s, z)"
    path = write(body, {"s": np.float32(0.1), "z": np.uint8(0)})
    original = builder_module.requested
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder_module, "requested", lambda model: {})  # it would refuse first
        with pytest.raises(ExportError, match=r"warns while it reads .*UINT8 zero_point"):
            build(path, tmp_path / "m.engine", expect="fp32", **QUIET)
        side = build(
            path, tmp_path / "m.engine", expect="fp32", **quiet(accept_warnings=["UINT8"])
        ).side
    assert "accepted: UINT8" in side.warnings.values()
    with pytest.raises(ExportError, match=r"uses uint8; TensorRT has int8"):
        original(onnx.load(path))


def test_every_known_warning_has_a_reason():
    assert all(len(why) > 20 and re.compile(pattern) for pattern, why in KNOWN_WARNINGS)


def test_a_memory_limit_that_is_too_low_is_one_clear_line(files, tmp_path):
    with pytest.raises(ExportError, match=r"does not fit the memory limit of 1 MB; raise it"):
        build(
            files("lkca_net"), tmp_path / "m.engine", expect="fp32", profile=PROFILE,
            **quiet(memory_limit=2**20),
        )  # fmt: skip
    assert not any(tmp_path.iterdir())


class Unshuffled(nn.Module):
    """Halves the sides first and doubles them twice, on sides padded to a multiple of two."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(12, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        features = torch.relu(self.head(nn.functional.pixel_unshuffle(x, 2)))
        for _ in range(2):
            features = nn.functional.interpolate(features, scale_factor=2, mode="nearest")
        return self.tail(features)


def test_where_no_range_of_sizes_can_be_built_one_is_and_says_why(tmp_path):
    network = adapt(Unshuffled(), Call(scale=2, multiple=2))
    path = export_onnx(network, torch.rand(1, 3, 16, 16), tmp_path / "net.onnx")
    range_ = {"input": ((1, 3, 8, 8), (1, 3, 16, 16), (1, 3, 32, 32))}
    side = build(path, tmp_path / "m.engine", expect="fp32", profile=range_, **QUIET).side
    assert side.profile == {"input": [[1, 3, 16, 16]] * 3}
    assert side.why_one_size.startswith(
        "TensorRT builds none for 1 x 3 x 8 x 8 to 1 x 3 x 32 x 32: "
    )
    assert len(side.why_one_size.splitlines()) == 1


def test_a_gpu_with_too_little_memory_is_told_apart_from_a_limit():
    said = Messages(errors=["[defaultAllocator.cpp] Cuda Runtime (out of memory)"])
    failure = str(builder_module._build_failure(said, "fp16", None))
    assert failure.startswith("the GPU has too little memory to build the engine; build for smal")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compute_capability": "5.3"}, r"does not build for compute capability 5\.3; it does for"),
        ({"compute_capability": "fast"}, r"looks like 8\.6 or SM86, got 'fast'"),
        (quiet(memory_limit=0), "number of bytes from 1, got 0"),
        (
            quiet(library="openvino"),
            "TensorRT comes as tensorrt or tensorrt_rtx, got 'openvino'",
        ),
        ({"profile": {"z": ((1,), (1,), (1,))}}, "the profile names input z; the file has x"),
    ],
)
def test_bad_options_are_one_clear_line(write, tmp_path, options, message):
    with pytest.raises(ExportError, match=message) as caught:
        build(write(DOUBLE), tmp_path / "m.engine", expect="fp32", **{**QUIET, **options})
    assert "\n" not in str(caught.value)


def test_without_a_gpu_one_must_be_named(write, tmp_path, monkeypatch):
    monkeypatch.setattr(builder_module, "find_device", lambda: None)
    with pytest.raises(ExportError, match=r"no GPU here.*name a compute capability: .*8\.6"):
        build(write(DOUBLE), tmp_path / "m.engine", expect="fp32", settings=QUIET["settings"])


def test_a_folder_that_does_not_exist_is_named(write, tmp_path):
    with pytest.raises(ExportError, match=r"absent is no folder"):
        build(write(DOUBLE), tmp_path / "absent" / "m.engine", expect="fp32", **QUIET)


def test_a_full_disk_leaves_no_engine_without_its_side_file(write, tmp_path, monkeypatch):
    path = write(DOUBLE)
    engine = build(path, tmp_path / "m.engine", expect="fp32", **QUIET).engine
    old = engine.read_bytes()
    real = Path.write_bytes

    def full(self, content):
        if self.suffix == ".engine":
            real(self, bytes(content)[:10])
            raise OSError(28, "No space left on device")
        return real(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ExportError, match=r"m\.engine cannot be written: No space left"):
        build(path, engine, expect="fp32", **{**QUIET, "compute_capability": "8.9"})
    monkeypatch.undo()
    assert engine.read_bytes() == old
    assert not list(tmp_path.glob("*.part*"))
    check_engine(engine, path)


def test_progress_goes_to_stderr_and_nothing_to_stdout(write, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("edgesr_export.tensorrt.progress.SECONDS_BETWEEN_LINES", 0.0)
    build(write(DOUBLE), tmp_path / "m.engine", expect="fp32", compute_capability="8.6")
    said = capsys.readouterr()
    assert said.out == ""
    assert re.search(r"TensorRT fp32: Building engine \d+/\d+", said.err)


def test_timings_are_kept_in_a_file_of_their_device(write, tmp_path):
    folder = tmp_path / "timings"
    for _ in range(2):
        build(write(DOUBLE), tmp_path / "m.engine", expect="fp32", **quiet(timing_cache=folder))
    (file,) = folder.iterdir()
    assert re.fullmatch(r"timing-tensorrt_rtx-[\d.]+-sm8\.6-no-gpu.*\.cache", file.name)
    assert file.stat().st_size > 0


def test_a_timing_cache_that_cannot_be_is_one_clear_line(write, tmp_path):
    path = write(DOUBLE)
    with pytest.raises(ExportError, match=r"timing cache .*model\.onnx.* is no folder"):
        build(path, tmp_path / "m.engine", expect="fp32", **quiet(timing_cache=path / "cache"))
    assert not (tmp_path / "m.engine").exists()


def test_fixed_sizes_need_no_profile_and_free_ones_get_tiles(files, tmp_path):
    side = build(files("lkca_net"), tmp_path / "a.engine", expect="fp32", **QUIET).side
    assert side.profile == {"input": [[1, 32, 16, 16], [1, 32, 64, 64], [1, 32, 128, 128]]}
    side = build(files("grouped"), tmp_path / "b.engine", expect="fp32", **QUIET).side
    assert side.profile == {}


def test_the_side_file_stands_beside_the_engine(write, tmp_path):
    result = build(write(DOUBLE), tmp_path / "m.engine", expect="fp32", **QUIET)
    assert result.side_file == side_path(tmp_path / "m.engine") == tmp_path / "m.engine.json"
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["m.engine", "m.engine.json", "model.onnx"]
