"""``run.py --profile``: on onnxruntime for real, on stand-ins for TensorRT 8.2 to 11.4."""

from __future__ import annotations

import sys

import onnx
import pytest
from edgesr_jetson.board import cuda
from edgesr_jetson.board.main import main
from edgesr_jetson.board.onnx_nodes import Nodes
from edgesr_jetson.board.profile import onnxruntime_layers
from jetson_fakes import FakeDriver, fake_tensorrt, onnx_file
from onnx import helper

QUICK = ["--repeats", "2", "--warmup", "1", "--duration", "0", "--idle", "0", "--profile"]
SCOPES = "pkg.torch.onnx.name_scopes"


@pytest.fixture
def run(bundle, tmp_path, monkeypatch, validated):
    """Run a bundle with ``--profile``; returns code and result."""
    monkeypatch.chdir(tmp_path)

    def ran(*arguments, release=None, **behaviour):
        if release is not None:
            monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(release, **behaviour))
            monkeypatch.setattr(cuda, "_load", FakeDriver)
        code = main(str(bundle), [*QUICK, "--root", str(tmp_path / "none"), *arguments])
        return code, validated(tmp_path / "result.json")

    return ran


def test_every_layer_is_timed_by_onnxruntime(run, capsys):
    code, result = run("--runtime", "onnxruntime", "--models", "fp32")
    assert code == 0
    found = result["models"][0]["profile"]
    by_type = {layer["op"]: layer for layer in found["layers"]}
    assert {"Conv", "DepthToSpace"} <= by_type.keys()
    assert by_type["Conv"]["nodes"] == ["mix"]
    assert by_type["Conv"]["precision"] == "fp32"
    assert found["runs"] == 20
    assert found["input_shape"] == [1, 3, 6, 5]
    assert found["sum_ms"] == pytest.approx(sum(one["ms"] for one in found["layers"]))
    assert found["whole_ms"] > 0
    assert "memory" in found["device_memory_mb"]["absent"]
    assert "Conv: mix" in capsys.readouterr().out


@pytest.mark.parametrize("release", ["8.2", "8.6", "10.3", "11.4"])
def test_every_release_of_tensorrt_reports_to_its_profiler(run, release):
    code, result = run(release=release)
    assert code == 0
    for entry in result["models"]:
        found = entry["profile"]
        copy, mix = found["layers"]
        assert (copy["layer"], mix["layer"]) == ("copy for mix", "mix")
        assert (copy["ms"], mix["ms"]) == pytest.approx((0.1, 0.5))  # medians of x1, x2, x3
        assert "nodes" not in copy
        assert (mix["op"], mix["precision"]) == ("Convolution", entry["precision"])
        assert mix["nodes"] == ["mix"]
        assert found["device_memory_mb"] == 5


@pytest.mark.parametrize(
    ("profiler", "reason"), [("none", "no IProfiler"), ("silent", "reports no times")]
)
def test_an_engine_without_profiler_is_measured_and_told_in_one_line(run, capsys, profiler, reason):
    code, result = run(release="10.3", profiler=profiler)
    assert code == 2
    assert result["models"][0]["status"] == "verified"
    assert reason in result["models"][0]["profile"]["absent"]
    assert "fp32 was measured but not profiled: TensorRT 10.3" in result["error"]
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1


def test_live_use_is_not_profiled(run, capsys):
    assert main(".", ["--profile", "--live", "lines.npy"]) == 2
    assert "--profile measures, and --live does not" in capsys.readouterr().err


def named(tmp_path):
    """The tiny network as torch's exporter writes it: modules in the nodes' metadata."""
    model = onnx.load(onnx_file(tmp_path / "net.onnx"))
    for node, path in zip(model.graph.node, ("", "body.0.mix", "shuffle", ""), strict=True):
        entry = node.metadata_props.add()
        entry.key, entry.value = SCOPES, repr(["", *([path] if path else []), "operator"])
    return model


def test_nodes_and_modules_are_read_without_onnx(tmp_path):
    nodes = Nodes(named(tmp_path).SerializeToString())
    assert nodes.origin(["mix"]) == (["mix"], ["body.0.mix"])
    assert nodes.origin(["mixed_nchwc", "mix"]) == (["mix"], ["body.0.mix"])
    assert nodes.origin(["shuffled"]) == (["shuffled"], ["shuffle"])
    assert nodes.origin(["reformat", "output"]) == (["output"], [])


def test_recorded_files_name_modules_in_their_nodes():
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="/body/body.0/norm/Conv")
    graph = helper.make_graph([node], "g", [], [])
    nodes = Nodes(helper.make_model(graph).SerializeToString())
    assert nodes.origin(["/body/body.0/norm/Conv"])[1] == ["body.0.norm"]


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff", b":\x02\xff\xff"])
def test_what_is_no_onnx_has_no_nodes(content):
    assert Nodes(content).origin(["mix"]) == ([], [])


def test_events_of_several_runs_are_kept_apart():
    def event(name, start, spent):
        types = [{"uint8": [1]}, {"float": [1]}]
        arguments = {"op_name": "QLinearConv", "input_type_shape": types}
        return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": spent,
                "args": arguments}  # fmt: skip

    runs = [{"cat": "Session", "name": "model_run", "ts": start} for start in (10, 100)]
    found = onnxruntime_layers([event("a", 110, 5000), *runs, event("a", 20, 1000),
                                event("a", 30, 500)])  # fmt: skip
    assert found.spent == [{"a": 1.5}, {"a": 5.0}]
    assert found.facts["a"] == ("QLinearConv", "int8", ["a"])
