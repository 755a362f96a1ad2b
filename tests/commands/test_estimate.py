"""Estimates for boards: against the formula, never taken for measurements, refused in one line."""

from __future__ import annotations

import json
import shutil
import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from edgesr_export.profile import LayerTime, Profiled
from onnx import numpy_helper

from edgesr.cli.main import main
from edgesr.deploy.boards import boards
from edgesr.deploy.estimate import estimate_layers, spread
from edgesr.evaluation import peaks
from edgesr.evaluation.roofline import Roof

OLD_REPORT = Path(__file__).parents[1] / "report" / "report_v1.json"
PIXELS = 8 * 8
MACS = PIXELS * 8 * 32
MOVED = 4 * (8 * PIXELS + 8 * 32 + 32 * PIXELS)
SHUFFLED = 4 * 2 * 32 * PIXELS


def network(path: Path) -> Path:
    """Conv 1x1 and DepthToSpace for 8 bands, as report_v1.json has them."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20]>
        net (float[n, 8, h, w] x) => (float[n, 8, hh, ww] y) {
            c = Conv(x, weight) y = DepthToSpace<blocksize = 2>(c) }"""
    )
    weight = np.ones((32, 8, 1, 1), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "weight"))
    onnx.save(model, path)
    return path


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose models are tiny; the peaks of this machine are measured on small products."""
    monkeypatch.setattr(peaks, "SIDE", 64)
    monkeypatch.setattr(peaks, "COPIED", 1 << 20)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "models").mkdir(parents=True)
    shutil.copy(OLD_REPORT, tmp_path / "run" / "report.json")
    for name in ("cpu-fp32", "openvino-fp32", "tensorrt-fp32"):
        network(tmp_path / "run" / "models" / f"{name}.onnx")
    return tmp_path / "run"


def test_the_longer_of_arithmetic_and_traffic(run, capsys):
    assert main(["estimate", str(run), "--board", "nano-10w", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"estimate", "check_here"}
    (model,) = told["estimate"]["models"]
    conv, shuffle = model["layers"]
    assert (conv["macs"], conv["bytes"], shuffle["bytes"]) == (MACS, MOVED, SHUFFLED)
    arithmetic, traffic = 2 * MACS / 0.236e12, MOVED / 25.6e9
    assert conv["estimate_ms"] == pytest.approx(1e3 * max(arithmetic, traffic))
    assert conv["bound"] == ("arithmetic" if arithmetic > traffic else "traffic")
    assert shuffle["bound"] == "traffic"
    assert shuffle["estimate_ms"] == pytest.approx(1e3 * SHUFFLED / 25.6e9)
    total = conv["estimate_ms"] + shuffle["estimate_ms"]
    assert model["estimate_ms"] == pytest.approx(total)
    here = told["check_here"]["precisions"]["fp32"]
    assert 0 < here["p10"] <= here["median"] <= here["p90"]


def test_no_estimate_is_named_or_placed_like_a_measurement(run, capsys):
    main(["estimate", str(run), "--board", "orin-nano-15w", "--json"])
    told = json.loads(capsys.readouterr().out)["estimate"]

    def keys(value):
        if isinstance(value, dict):
            return {*value, *(key for one in value.values() for key in keys(one))}
        return {key for one in value for key in keys(one)} if isinstance(value, list) else set()

    assert {key for key in keys(told) if key.endswith("ms")} == {"estimate_ms"}
    assert main(["estimate", str(run), "--board", "orin-nano-15w"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("estimate, not measured: Jetson Orin Nano 8 GB, 15 W")
    assert [line for line in lines if "estimate ms" in line]
    assert any("measured time over estimated" in line for line in lines)


def test_a_precision_that_the_board_lacks_is_told(run, capsys):
    source = run / "models" / "tensorrt-fp32.onnx"
    model = onnx.load(source)
    for node in ("""xq = QuantizeLinear(x, s, z)""", "xd = DequantizeLinear(xq, s, z)"):
        parsed = onnx.parser.parse_node(node)
        model.graph.node.insert(0 if "xq =" in node else 1, parsed)
    model.graph.node[2].input[0] = "xd"
    for name, value in (("s", np.float32(0.1)), ("z", np.int8(0))):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    onnx.save(model, source)
    assert main(["estimate", str(run), "--board", "nano-10w"]) == 0
    assert "no estimate: Jetson Nano, 10 W has no int8 arithmetic" in capsys.readouterr().out


def test_spread_is_measured_over_estimated(tmp_path):
    path = network(tmp_path / "net.onnx")
    roof = Roof({"fp32": 1e9}, 1e9)
    conv, shuffle = (max(2e-6 * MACS, 1e-6 * MOVED), 1e-6 * SHUFFLED)
    layers = (
        LayerTime("c", "Conv", 3 * conv, "fp32", ("c",)),
        LayerTime("y", "DepthToSpace", 5 * shuffle, "fp32", ("y",)),
        LayerTime("ReorderInput", "ReorderInput", 1.0),
    )
    path_nodes = onnx.load(path)
    for node, name in zip(path_nodes.graph.node, "cy", strict=True):
        node.name = name
    onnx.save(path_nodes, path)
    found = spread(path, Profiled(layers, 8 * (conv + shuffle), 20), (1, 8, 8, 8), roof)
    assert (found.layers, found.median) == (2, pytest.approx(4))
    assert (found.p10, found.p90) == (pytest.approx(3.2), pytest.approx(4.8))
    assert found.whole == pytest.approx(8)
    assert found.unexplained == pytest.approx(1 / (3 * conv + 5 * shuffle + 1))
    assert estimate_layers([], roof) == []


def test_measured_peaks_are_rates(tmp_path, monkeypatch):
    monkeypatch.setattr(peaks, "SIDE", 32)
    monkeypatch.setattr(peaks, "COPIED", 1 << 16)
    roof = peaks.measure_roof(tmp_path, 1, repeats=2)
    assert set(roof.operations) == {"fp32", "bf16", "int8"}
    assert all(rate > 0 for rate in roof.operations.values())
    assert roof.bytes_per_s > 0


def test_every_board_has_peaks_in_order_and_sources():
    table = tomllib.loads(files("edgesr.deploy").joinpath("boards.toml").read_text("utf-8"))
    assert list(table) == list(boards())
    for board in boards().values():
        rates = [board.roof.operations[one] for one in ("fp32", "fp16", "int8")
                 if one in board.roof.operations]  # fmt: skip
        assert rates == sorted(rates)
        assert len(rates) >= 2
        assert 1e10 < board.roof.bytes_per_s < 1e12
        assert board.derived
        assert all(source.startswith("http") for source in board.sources)
        assert board.sources


def test_the_boards_are_listed(capsys):
    assert main(["estimate", "--list"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in boards())


def test_refusals_are_one_line(run, capsys):
    for arguments, words in (
        ([str(run), "--board", "toaster"], "orin-nano-15w, "),
        ([str(run)], "--list"),
        (["--board", "nano-10w"], "--list"),
        (["nowhere", "--board", "nano-10w"], "no finished run"),
        ([str(run), "--board", "nano-10w", "--tile", "0"], "an integer from 1 to 4096"),
    ):
        assert main(["estimate", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
    (run / "models" / "tensorrt-fp32.onnx").unlink()
    assert main(["estimate", str(run), "--board", "nano-10w"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has lost models/tensorrt-fp32.onnx" in line
    report = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps({**report, "not_exported": "it is complex"}))
    assert main(["estimate", str(run), "--board", "nano-10w"]) == 2
    assert "holds no deployed models" in capsys.readouterr().err
