"""Where the time of a network goes on the board, layer by layer, as its runtime's profiler tells.

TensorRT reports to an ``IProfiler``, onnxruntime writes a file of events; neither needs trtexec.
"""

from __future__ import annotations

import json
import re
import time
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence

import numpy as np

from .errors import BoardError, absent, is_absent
from .onnx_nodes import Nodes
from .precision import layer_kind, read_layers
from .runner import Runner

RUNS = 20
WARMUP = 2

_NODE = re.compile(r"\[ONNX Layer: (.*?)\]")
_KERNEL = "_kernel_time"
_TYPES = {"int8": "int8", "uint8": "int8", "float16": "fp16", "bfloat16": "bf16", "float": "fp32"}
_LOWEST_FIRST = ("int8", "fp16", "bf16", "fp32")

Spent = List[Dict[str, float]]
"""Milliseconds by the name of the layer, of each run."""


@dataclass(frozen=True)
class Layers:
    """What a runtime told.

    Attributes:
        spent: times of each measured run.
        facts: by the name of a layer, its type, its precision ("" where unknown), and names of
            nodes or tensors that it comes from.
        memory_mb: that the network needs of the device, or absent.
    """

    spent: Spent
    facts: Mapping[str, tuple[str, str, Sequence[str]]]
    memory_mb: Any


def profile(runner: Runner, tile: np.ndarray, content: bytes) -> dict[str, Any]:
    """Median time of every layer, and of the whole call without the profiler, over :data:`RUNS`.

    Args:
        runner: prepared for the shape of ``tile``.
        content: ONNX file of the network.

    Returns:
        See ``result.schema.json``; absent where the runtime has no profiler.
    """
    runner.prepare(tile.shape)
    runner.load(tile)
    whole = []
    for _ in range(WARMUP + RUNS):
        start = time.perf_counter()
        runner.run()
        whole.append(1e3 * (time.perf_counter() - start))
    try:
        told = runner.layers(tile, WARMUP + RUNS)
    except BoardError as error:
        return absent(str(error))
    spent = told.spent[-RUNS:]
    nodes, layers = Nodes(content), []
    for name in dict.fromkeys(name for run in spent for name in run):
        kind, precision, names = told.facts.get(name, ("", "", name.split(" + ")))
        entry: dict[str, Any] = {
            "layer": name,
            "op": kind or "layer",
            "ms": float(np.median([run.get(name, 0.0) for run in spent])),
        }
        found, modules = nodes.origin(names)
        known = {"precision": precision, "nodes": found, "modules": modules}
        entry.update({key: value for key, value in known.items() if value})
        layers.append(entry)
    return {
        "runs": len(spent),
        "input_shape": list(tile.shape),
        "whole_ms": float(np.median(whole[-RUNS:])),
        "sum_ms": float(sum(entry["ms"] for entry in layers)),
        "device_memory_mb": told.memory_mb,
        "layers": layers,
    }


def require_profiles(models: Sequence[Mapping[str, Any]]) -> None:
    """Raise BoardError where a profile was asked for and a runtime has none; all else stays."""
    for entry in models:
        found = entry.get("profile")
        if found is not None and is_absent(found):
            raise BoardError(f"{entry['name']} was measured but not profiled: {found['absent']}")


def tensorrt_layers(
    trt: Any, engine: Any, context: Any, run: Callable[[], None], runs: int
) -> Layers:
    """What TensorRT reports of each run; 8.x to 11.x.

    Raises:
        BoardError: this TensorRT, or this engine, has no profiler.
    """
    if not hasattr(trt, "IProfiler") or not hasattr(context, "profiler"):
        raise BoardError(f"TensorRT {trt.__version__} has no IProfiler here; update TensorRT")

    class Profiler(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.spent: dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.spent[layer_name] = self.spent.get(layer_name, 0.0) + float(ms)

    profiler = Profiler()
    context.profiler = profiler
    later = hasattr(context, "report_to_profiler") and hasattr(context, "enqueue_emits_profile")
    if later:
        context.enqueue_emits_profile = False
    spent: Spent = []
    for _ in range(runs):
        profiler.spent = {}
        run()
        if later and not context.report_to_profiler():
            raise BoardError(f"TensorRT {trt.__version__} reports no times of this engine")
        spent.append(profiler.spent)
    if not spent[-1]:
        raise BoardError(f"TensorRT {trt.__version__} reports no layer of this engine")
    return Layers(spent, _inspected(trt, engine), _memory_mb(engine))


def onnxruntime_layers(events: Sequence[dict[str, Any]]) -> Layers:
    """What onnxruntime's profiler wrote of each run."""
    starts = sorted(event["ts"] for event in events if event["name"] == "model_run")
    spent: Spent = [{} for _ in starts]
    facts: dict[str, tuple[str, str, Sequence[str]]] = {}
    for event in sorted(events, key=lambda one: one["ts"]):
        if event.get("cat") != "Node" or not event["name"].endswith(_KERNEL):
            continue
        name = event["name"][: -len(_KERNEL)]
        run = spent[bisect_right(starts, event["ts"]) - 1]
        run[name] = run.get(name, 0.0) + event["dur"] / 1e3
        read = {
            _TYPES.get(kind)
            for tensor in event["args"].get("input_type_shape", ())
            for kind in tensor
        }
        lowest = next((kind for kind in _LOWEST_FIRST if kind in read), "")
        facts.setdefault(name, (str(event["args"]["op_name"]), lowest, [name]))
    return Layers(spent, facts, absent("onnxruntime does not tell the memory of the device"))


def read_events(path: Path) -> list[dict[str, Any]]:
    """Events in a file of onnxruntime's profiler.

    Raises:
        BoardError: it cannot be read.
    """
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BoardError(f"onnxruntime's profile cannot be read ({error})") from error
    return found


def _inspected(trt: Any, engine: Any) -> dict[str, tuple[str, str, Sequence[str]]]:
    layers = read_layers(trt, engine)
    found: dict[str, tuple[str, str, Sequence[str]]] = {}
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, dict):
            name = str(layer.get("Name", ""))
            nodes = _NODE.findall(str(layer.get("Metadata", ""))) or name.split(" + ")
            found[name] = (str(layer.get("LayerType", "")), layer_kind(layer) or "", nodes)
    return found


def _memory_mb(engine: Any) -> Any:
    for name in ("device_memory_size_v2", "device_memory_size"):
        size = getattr(engine, name, None)
        if size is not None:
            return round(int(size) / 1e6, 3)
    return absent("this TensorRT does not tell the memory of an engine")
