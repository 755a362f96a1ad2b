"""Layers as ONNX Runtime's profiler tells them."""

from __future__ import annotations

import json
import tempfile
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgesr_export.profile.layers import (
    RUNS,
    WARMUP,
    LayerTime,
    Profiled,
    check_runs,
    lowest,
    medians,
    whole_call,
)
from edgesr_export.profile.memory import PeakMemory
from edgesr_export.profile.source import Source, read_source
from edgesr_export.runtime import Session, session

_KERNEL = "_kernel_time"
_TYPES = {
    **dict.fromkeys(("int8", "uint8"), "int8"),
    "float16": "fp16",
    "bfloat16": "bf16",
    "float": "fp32",
}
Event = dict[str, Any]


def ort_profile(
    path: Path | str,
    image: np.ndarray,
    *,
    threads: int = 1,
    runs: int = RUNS,
    provider: str = "cpu",
) -> Profiled:
    """Layers of an ONNX file in ONNX Runtime, among them its changes of layout.

    Args:
        path: ONNX file of one input.
        image: what to run it on.
        threads: threads within an operator.
        runs: measured runs, at least 1, after two that are not.
        provider: of :data:`edgesr_export.runtime.PROVIDERS`.

    Raises:
        ExportError: a file or an image that cannot be run.
    """
    check_runs(runs)
    with PeakMemory() as memory:
        run = session(path, threads, provider=provider)
        whole = whole_call(lambda: run(image), runs)
    layers = node_times(path, image, threads=threads, runs=runs, provider=provider)
    if provider == "cpu":
        return Profiled(tuple(layers), whole, runs, memory.growth_bytes, memory.absent)
    return Profiled(tuple(layers), whole, runs, None, "ONNX Runtime does not tell the GPU's memory")


def node_times(
    path: Path | str,
    image: np.ndarray,
    *,
    threads: int = 1,
    runs: int = RUNS,
    provider: str = "cpu",
) -> list[LayerTime]:
    """The layers alone, in the order of execution; see :func:`ort_profile`."""
    check_runs(runs)
    with tempfile.TemporaryDirectory() as folder:
        fused = Path(folder) / "fused.onnx"
        run = Session(
            path,
            threads,
            provider=provider,
            profile_prefix=Path(folder) / "profile",
            fused_file=fused,
        )
        for _ in range(WARMUP + runs):
            run(image)
        events = json.loads(run.end_profiling().read_text())
        executed = _executed(fused)
    return layers_of_events(events, runs, read_source(path), executed)


def layers_of_events(
    events: Sequence[Event],
    runs: int,
    source: Source,
    executed: Sequence[tuple[str, Sequence[str]]] = (),
) -> list[LayerTime]:
    """Layers in the events that ONNX Runtime's profiler has written.

    Args:
        events: content of its file.
        runs: how many runs count: the last ones.
        source: the file that was run.
        executed: name and outputs of each node after ONNX Runtime's fusions, where it tells.
    """
    starts = sorted(event["ts"] for event in events if event["name"] == "model_run")
    spent: list[dict[str, float]] = [{} for _ in starts]
    arguments: dict[str, dict[str, Any]] = {}
    for event in sorted(events, key=lambda event: event["ts"]):
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            name = event["name"].removesuffix(_KERNEL)
            run = spent[bisect_right(starts, event["ts"]) - 1]
            run[name] = run.get(name, 0.0) + event["dur"] / 1e3
            arguments.setdefault(name, event["args"])
    absorbed = source.absorbed(executed or [(name, ()) for name in arguments])
    layers = []
    for name, ms in medians(spent[-runs:]).items():
        nodes, modules = source.origin(absorbed.get(name, ()))
        told = arguments[name]
        read = {_TYPES[k] for t in told.get("input_type_shape", ()) for k in t if k in _TYPES}
        layers.append(LayerTime(name, str(told["op_name"]), ms, lowest(read), nodes, modules))
    return layers


def _executed(fused: Path) -> list[tuple[str, Sequence[str]]]:
    """Nodes after fusion; none where ONNX Runtime has not written them, as with engines inside."""
    if not fused.is_file():
        return []
    graph = onnx.load(fused, load_external_data=False).graph
    return [(node.name, list(node.output)) for node in graph.node]
