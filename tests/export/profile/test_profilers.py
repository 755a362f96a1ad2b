"""Every runtime's profiler: on records made by hand, and for real where it runs on a CPU."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from edgesr_export.errors import ExportError
from edgesr_export.profile.layers import LayerTime, Profiled, medians
from edgesr_export.profile.memory import PeakMemory
from edgesr_export.profile.openvino import layers_of_counters, openvino_profile
from edgesr_export.profile.ort import layers_of_events, ort_profile
from edgesr_export.profile.source import Source
from edgesr_export.profile.tensorrt import device_memory, layers_of_times, profile_runner
from edgesr_export.profile.torch import torch_profile
from edgesr_export.targets import find_target
from edgesr_export.tensorrt.inspector import EngineLayer
from torch import nn

HEAD = {"nodes": ("conv", "act"), "modules": ("head", "head.act")}


def test_shares_and_sums():
    layers = (LayerTime("a", "Conv", 3.0), LayerTime("b", "Add", 1.0))
    found = Profiled(layers, whole_ms=5.0, runs=20)
    assert found.sum_ms == 4
    assert [found.share(layer) for layer in layers] == [0.75, 0.25]


def test_a_layer_that_is_missing_in_a_run_took_no_time_there():
    assert medians([{"a": 1.0}, {"a": 3.0, "b": 2.0}, {"a": 2.0}]) == {"a": 2.0, "b": 0.0}


# --- ONNX Runtime ------------------------------------------------------------------------------


def node_event(name, op, start, spent, *types):
    arguments = {"op_name": op, "input_type_shape": [{kind: [1]} for kind in types]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": spent,
            "args": arguments}  # fmt: skip


def test_recorded_events(network):
    """Three runs, of which the last two count; microseconds, out of order, with other events."""
    events = [{"cat": "Session", "name": "session_initialization", "ts": 0, "dur": 5}]
    for start, conv in ((1000, 90_000), (2000, 300), (3000, 500)):
        events += [
            node_event("t_nchwc", "Conv", start + 50, 100, "int8", "float"),
            node_event("c_nchwc", "Conv", start + 10, conv, "float16", "float"),
            node_event("ReorderOutput", "ReorderOutput", start + 90, 40, "float"),
            {"cat": "Session", "name": "model_run", "ts": start, "dur": 900},
            {"cat": "Node", "name": "c_nchwc_fence_before", "ts": start + 5, "dur": 1, "args": {}},
        ]
    assert layers_of_events(events, 2, Source(network)) == [
        LayerTime("c_nchwc", "Conv", 0.4, "fp16", **HEAD),
        LayerTime("t_nchwc", "Conv", 0.1, "int8", ("tail",), ("tail",)),
        LayerTime("ReorderOutput", "ReorderOutput", 0.04, "fp32"),
    ]


def test_onnx_runtime(path, image):
    found = ort_profile(path, image, runs=3)
    assert found.runs == 3
    nodes = [name for layer in found.layers for name in layer.nodes]
    assert sorted(nodes) == ["act", "conv", "shuffle", "tail"]
    convs = [layer for layer in found.layers if layer.op in ("Conv", "FusedConv")]
    assert [set(layer.modules) for layer in convs] == [{"head", "head.act"}, {"tail"}]
    assert {layer.precision for layer in found.layers} == {"fp32"}
    assert found.sum_ms > 0
    assert found.whole_ms > 0
    assert (found.memory_bytes is None) == bool(found.no_memory)


# --- OpenVINO ----------------------------------------------------------------------------------


def test_recorded_counters(network):
    runs = [
        [("conv/WithoutBiases", "Convolution", ms), ("r", "Reorder", 0.5), ("y", "DepthToSpace", 1)]
        for ms in (3.0, 1.0, 2.0)
    ]
    described = {
        "conv/WithoutBiases": {
            "originalLayersNames": "conv/WithoutBiases,conv,act", "runtimePrecision": "bf16",
        },
        "r": {"originalLayersNames": "", "runtimePrecision": "u8"},
        "y": {"originalLayersNames": "y", "runtimePrecision": "i32"},
    }  # fmt: skip
    assert layers_of_counters(runs, described, Source(network)) == [
        LayerTime("conv/WithoutBiases", "Convolution", 2.0, "bf16", **HEAD),
        LayerTime("r", "Reorder", 0.5, "int8"),
        LayerTime("y", "DepthToSpace", 1.0, None, ("shuffle",)),
    ]


def test_openvino(path, image):
    pytest.importorskip("openvino")
    found = openvino_profile(path, image, runs=3)
    convolutions = [layer for layer in found.layers if layer.op == "Convolution"]
    assert [layer.nodes[0] for layer in convolutions] == ["conv", "tail"]
    assert convolutions[0].modules == ("head", "head.act")
    assert {layer.precision for layer in convolutions} == {"fp32"}
    assert found.whole_ms > 0


# --- torch -------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 16, 3, padding=1), nn.ReLU())

    def forward(self, x):
        return self.body(x) + x.mean()


def test_torch_names_the_module_that_calls_an_operator(image):
    module = Net()
    before = [len(one._forward_hooks) for one in module.modules()]
    found = torch_profile(module, image, runs=3)
    assert [len(one._forward_hooks) for one in module.modules()] == before
    by_name = {layer.layer: layer for layer in found.layers}
    conv = by_name["body.0: aten::conv2d"]
    assert (conv.op, conv.modules, conv.precision) == ("aten::conv2d", ("body.0",), "fp32")
    assert by_name["body.1: aten::relu"].modules == ("body.1",)
    assert by_name["aten::add"].modules == ()
    assert not any("convolution" in name for name in by_name)  # those within aten::conv2d
    assert all(math.isfinite(layer.ms) for layer in found.layers)
    assert torch.get_num_threads() >= 1


# --- TensorRT, by a fake of its API ------------------------------------------------------------

LAYERS = [
    EngineLayer("conv + act", "Convolution", ("fp16",), ("fp16",), ("conv", "act")),
    EngineLayer("{ForeignNode[tail...shuffle]}", "kgen", ("int8",), ("fp16",), ()),
]


class Engine:
    """Runs as TensorRT does: a profiled call reports its layers, at once or when it is asked."""

    def __init__(self, later=True, silent=False, profiler=True):
        self.module = SimpleNamespace(__name__="tensorrt")
        if profiler:
            self.module.IProfiler = type("IProfiler", (), {"__init__": lambda self: None})
        self.context = SimpleNamespace(profiler=None)
        self.later, self.silent, self.runs, self.asked = later, silent, 0, 0
        if later:
            self.context.enqueue_emits_profile = True
            self.context.report_to_profiler = self.report
        self.engine = SimpleNamespace(device_memory_size=3, device_memory_size_v2=7_000_000)
        self.api = SimpleNamespace(module=self.module)
        self.path, self.name = "net.engine", "tensorrt 10.3.0"

    def layers(self):
        return LAYERS

    def __call__(self, image):
        self.runs += 1
        if getattr(self.context, "enqueue_emits_profile", True):
            self.report()
        return image

    def report(self):
        self.asked += 1
        if not self.silent:
            for name, ms in (("conv + act", 2.0), ("copy", 0.25), ("conv + act", 1.0)):
                self.context.profiler.report_layer_time(name, ms * (1 + self.runs % 3))
        return not self.silent


@pytest.mark.parametrize("later", [True, False])
def test_tensorrt_reports_to_the_profiler(network, image, later):
    engine = Engine(later)
    found = profile_runner(engine, image, Source(network), 4.0, 20)
    assert (engine.runs, engine.asked) == (22, 22)
    assert found.layers == (
        LayerTime("conv + act", "Convolution", 6.0, "fp16", **HEAD),  # named twice in a run
        LayerTime("copy", "layer", 0.5),
    )
    assert (found.whole_ms, found.runs, found.memory_bytes) == (4.0, 20, 7_000_000)


def test_layers_without_an_inspectors_word_are_named_after_their_nodes(network):
    (found,) = layers_of_times([{"conv + act": 1.0}], [], Source(network))
    assert found == LayerTime("conv + act", "layer", 1.0, None, **HEAD)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"profiler": False}, "has no IProfiler"),
        ({"silent": True}, "reports no times"),
        ({"silent": True, "later": False}, "no layer with a time"),
    ],
)
def test_an_engine_without_profiler_is_one_line(network, image, options, reason):
    with pytest.raises(ExportError, match=rf"net\.engine cannot be profiled: .*{reason}") as caught:
        profile_runner(Engine(**options), image, Source(network), 1.0, 3)
    assert "\n" not in str(caught.value)


def test_older_releases_tell_their_memory_too():
    assert device_memory(SimpleNamespace(device_memory_size=5)) == (5, "")
    assert device_memory(SimpleNamespace()) == (
        None, "this TensorRT does not tell the memory of an engine",
    )  # fmt: skip


def test_a_file_without_engine_is_told(path, image):
    with pytest.raises(ExportError, match="has no engine to profile"):
        find_target("tensorrt").profile(path, "fp16", image)


# --- all ---------------------------------------------------------------------------------------


def test_no_run_is_refused(path, image):
    for target in ("cpu", "openvino"):
        with pytest.raises(ExportError, match="at least 1 run"):
            find_target(target).profile(path, "fp32", image, runs=0)
    with pytest.raises(ExportError, match="at least 1 run"):
        torch_profile(Net(), image, runs=0)


def test_memory_that_is_taken_is_counted(monkeypatch, tmp_path):
    with PeakMemory() as memory:
        np.ones(8 << 20).sum()
    if memory.absent:
        pytest.skip(memory.absent)
    assert memory.growth_bytes > 60e6
    monkeypatch.setattr("edgesr_export.profile.memory._RESET", tmp_path / "no" / "such")
    with PeakMemory() as memory:
        pass
    assert memory.growth_bytes is None
    assert "does not tell the peak" in memory.absent
