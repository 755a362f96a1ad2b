"""``edgesr engine`` as it is typed; engines are built for real by tensorrt_rtx, without a GPU."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from edgesr_export.tensorrt import api, check_engine
from onnx import numpy_helper

from edgesr.cli.main import main

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="needs the extra 'tensorrt'"
)
CONVOLUTION = "y = Conv <pads = [1, 1, 1, 1]> (x, w)"
WEIGHT = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes an ONNX file of the given nodes, of free size unless said otherwise."""

    def written(
        body: str = CONVOLUTION, size: str = "h, w", batch: str = "n", **constants: np.ndarray
    ) -> Path:
        model = onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 17]> network'
            f" (float[{batch}, 3, {size}] x) => (float[a, b, c, d] y) {{ {body} }}"
        )
        for name, array in {"w": WEIGHT, **constants}.items():
            if name in body:
                model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        onnx.save(model, tmp_path / "net.onnx")
        return tmp_path / "net.onnx"

    return written


@pytest.fixture
def engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs the command; returns its exit code and what it printed (on stderr, if it failed)."""

    def run(source: Path, *options: object, output: Path | None = None) -> tuple[int, str]:
        arguments = ["engine", source, "--output", output or tmp_path / "net.engine", *options]
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            code = int(str(stopped.code))
        told = capsys.readouterr()
        assert code == 0 or (told.out == "" and told.err.count("\n") == 1)
        return code, told.out if code == 0 else told.err

    return run


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_export_writes_becomes_an_engine(write, engine, tmp_path, precision, capsys):
    source, typed = write(), tmp_path / "typed.onnx"
    target = ["--target", "tensorrt", "--precision", precision, "--opset", "17"]
    assert main(["export", str(source), *target, "--output", str(typed)]) == 0
    capsys.readouterr()
    code, told = engine(typed, "--precision", precision, "--sm", "86", "--max", 32, "--dla")
    assert code == 0
    made = tmp_path / "net.engine"
    side = json.loads((tmp_path / "net.engine.json").read_text())
    assert side["engine_sha256"] == hashlib.sha256(made.read_bytes()).hexdigest()
    assert side["compute_capability"] == "8.6"
    assert side["profile"] == {"x": [[1, 3, 16, 16], [1, 3, 32, 32], [1, 3, 32, 32]]}
    assert {both["obtained"] for both in side["precision"].values()} == {precision}
    check_engine(made, typed)
    for words in (
        *(f"{made}: ", "compute capability 8.6", "tensorrt_rtx", "built in"),
        *(f"layers: 1 {precision}", "tuned for 1 x 3 x 32 x 32", f"side file: {made}.json", "DLA:"),
        "not timed on a GPU",
    ):
        assert words in told


@needs_rtx
def test_int8_comes_from_explicit_quantisation(write, engine, tmp_path):
    body = (
        "q = QuantizeLinear (x, s, z)\n d = DequantizeLinear (q, s, z)\n"
        "v = DequantizeLinear <axis = 0> (k, t, o)\n y = Conv <pads = [1, 1, 1, 1]> (d, v)"
    )
    quantised = np.random.default_rng(0).integers(-127, 128, (16, 3, 3, 3)).astype(np.int8)
    source = write(body, s=np.float32(0.01), z=np.int8(0), k=quantised,
                   t=np.full(16, 0.01, np.float32), o=np.zeros(16, np.int8))  # fmt: skip
    code, told = engine(source, "--precision", "int8", "--sm", "89", "--batch", 2)
    assert code == 0
    assert "layers: 1 int8" in told
    assert "to 2 x 3 x 128 x 128" in told


@needs_rtx
def test_an_engine_in_the_way_stays_unless_told_otherwise(write, engine, tmp_path):
    source, there = write(), tmp_path / "net.engine"
    there.write_text("mine")
    code, told = engine(source, "--sm", "86")
    assert (code, there.read_text()) == (2, "mine")
    assert "exists; pass --overwrite" in told
    assert engine(source, "--sm", "86", "--overwrite")[0] == 0
    assert there.stat().st_size > 1000


@needs_rtx
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "fp16"], "edgesr export --target tensorrt --precision fp16 writes such"),
        (["--precision", "int8"], "int8 was asked for and no layer"),
        (["--sm", "53"], "does not build for compute capability 5.3; it does for 7.5"),
        (["--sm", "orin"], "a compute capability looks like 8.6 or SM86, got 'orin'"),
        (["--min", "64", "--opt", "32"], "least, tuned and largest in this order"),
        (["--max", "0"], "--max must be an integer from 1 to 65536, not 0"),
        (["--batch", "-1"], "--batch must be an integer from 1 to 65536, not -1"),
        (["--memory-mib", "0"], "--memory-mib must be an integer from 1 to 1048576, not 0"),
        (["--precision", "fp8"], "invalid choice: 'fp8'"),
        (["--timing-cache", "net.onnx/cache"], "timing cache"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(
    write, engine, tmp_path, options, message, monkeypatch
):
    source = write()
    monkeypatch.chdir(tmp_path)
    sm = [] if "--sm" in options else ["--sm", "86"]
    code, told = engine(source, *sm, *options)
    assert code == 2
    assert message in told
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


@needs_rtx
@pytest.mark.parametrize(
    ("body", "constants", "message"),
    [
        ("y = Bernoulli (x)", {}, "layer Bernoulli_0 (Bernoulli): it has no such operator; repl"),
        ('y = Resize <mode = "cubic", antialias = 1> (x, , s)',
         {"s": np.float32([1, 1, 0.5, 0.5])},
         "layer Resize_0 (Resize with antialias=1); use --target cpu, where ONNX Runtime runs it"),
        ("q = QuantizeLinear (x, s, z)\n d = DequantizeLinear (q, s, z)\n y = Conv (d, w)",
         {"s": np.float32(0.1), "z": np.uint8(0)},
         "uses uint8; TensorRT has int8 with zero point 0 alone: quantise symmetrically"),
    ],
)  # fmt: skip
def test_what_tensorrt_does_not_take_is_named_with_a_way_out(
    write, engine, tmp_path, body, constants, message
):
    model = onnx.load(write(body, **constants))
    if "antialias" in body:
        model.opset_import[0].version = 18
    onnx.save(model, tmp_path / "net.onnx")
    code, told = engine(tmp_path / "net.onnx", "--sm", "86")
    assert code == 2
    assert message in told
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_a_file_of_one_size_takes_no_range(write, engine):
    code, told = engine(write(size="8, 8"), "--sm", "86", "--max", 32)
    assert code == 2
    assert "fixes the size of its input x [?, 3, 8, 8]; leave out --min, --opt and --max" in told


def test_a_file_of_one_tile_takes_no_batch(write, engine):
    code, told = engine(write(batch="1"), "--sm", "86", "--batch", 4)
    assert code == 2
    assert "fixes the number of tiles of its input x [1, 3, ?, ?]; leave out --batch" in told


def test_without_a_gpu_one_must_be_named(write, engine, monkeypatch):
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr("edgesr_export.tensorrt.cuda.find_device", lambda: None)
    code, told = engine(write())
    assert code == 2
    assert "no GPU here to build for; pass --sm with one of 75, 80, 86, 89" in told


def test_without_tensorrt_it_says_what_to_install(write, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(api, "_import", lambda name: f"No module named '{name}'")
    code, told = engine(write(), "--sm", "86")
    assert code == 2
    assert "no TensorRT can be imported" in told
    assert "install the extra 'tensorrt', or on a Jetson use the Python of JetPack" in told
    assert not (tmp_path / "net.engine").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("net.plan", "--output must end in .engine, not net.plan"), ("no/net.engine", "is no folder")],
)
def test_an_output_that_cannot_be(write, engine, tmp_path, name, message):
    pytest.importorskip("tensorrt_rtx")
    code, told = engine(write(), "--sm", "86", output=tmp_path / name)
    assert code == 2
    assert message in told


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist; name an .onnx file"), (b"no model", "cannot be read as ONNX")],
)
def test_an_input_that_is_none(engine, tmp_path, content, message):
    source = tmp_path / "net.onnx"
    if content is not None:
        source.write_bytes(content)
    code, told = engine(source, "--sm", "86")
    assert code == 2
    assert message in told


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("../weights.bin", "lies outside its folder; put them beside it"),
        ("absent.bin", "does not exist; copy it to"),
    ],
)
def test_weights_that_are_missing_or_leave_the_folder(write, engine, tmp_path, location, message):
    folder = tmp_path / "net"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(WEIGHT.tobytes())
    model = onnx.load(write())
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    code, told = engine(folder / "net.onnx", "--sm", "86")
    assert code == 2
    assert f"takes the weights w from {location!r}"[:-1].replace("'", "") in told.replace("'", "")
    assert message in told
    assert not (tmp_path / "net.engine").exists()


@needs_rtx
def test_a_disk_that_is_full_leaves_nothing(write, engine, tmp_path):
    """No file may grow beyond 4 kB, as where the disk ends there: the real call fails."""
    source = write()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        code, told = engine(source, "--sm", "86")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 2
    assert "net.engine cannot be written: File too large" in told
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
