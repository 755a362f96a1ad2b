"""Layers as TensorRT's ``IProfiler`` tells them; 8.5 to 11 and RTX, without trtexec.

The engine is built with detailed verbosity (:mod:`edgesr_export.tensorrt.builder`), so that its
inspector knows the ONNX nodes and the types of each layer by the name that the profiler gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesr_export.errors import ExportError
from edgesr_export.profile.layers import (
    RUNS,
    WARMUP,
    LayerTime,
    Profiled,
    check_runs,
    medians,
    whole_call,
)
from edgesr_export.profile.source import Source, read_source
from edgesr_export.tensorrt.inspector import EngineLayer

if TYPE_CHECKING:
    from edgesr_export.tensorrt.runner import Runner


def tensorrt_profile(
    engine: Path | str, path: Path | str, image: np.ndarray, *, runs: int = RUNS
) -> Profiled:
    """Layers of an engine on the GPU.

    Args:
        engine: file of the engine, with its side file beside it.
        path: ONNX file that it was built from.
        image: what to run it on.
        runs: measured runs, at least 1, after two that are not.

    Raises:
        ExportError: no GPU, an engine that cannot run here, or one whose TensorRT has no profiler.
    """
    from edgesr_export.tensorrt.runner import Runner

    check_runs(runs)
    source = read_source(path)
    with Runner(engine, onnx=path, cuda_graph=True) as runner:
        whole = whole_call(lambda: runner(image), runs)
    with Runner(engine, onnx=path) as runner:
        return profile_runner(runner, image, source, whole, runs)


def profile_runner(
    runner: Runner, image: np.ndarray, source: Source, whole_ms: float, runs: int
) -> Profiled:
    """Layers of a loaded engine; ``whole_ms`` was timed without the profiler."""
    context, module = runner.context, runner.api.module
    if not hasattr(module, "IProfiler") or not hasattr(context, "profiler"):
        raise ExportError(
            f"{runner.path} cannot be profiled: {runner.name} has no IProfiler; profile it with"
            " another TensorRT"
        )
    profiler = _make_profiler(module)
    context.profiler = profiler
    later = hasattr(context, "report_to_profiler") and hasattr(context, "enqueue_emits_profile")
    if later:  # the layers are not held up one by one while the call runs
        context.enqueue_emits_profile = False
    found = []
    for _ in range(WARMUP + runs):
        profiler.spent = {}
        runner(image)
        if later and not context.report_to_profiler():
            raise ExportError(f"{runner.path} cannot be profiled: {runner.name} reports no times")
        found.append(profiler.spent)
    if not found[-1]:
        raise ExportError(
            f"{runner.path} cannot be profiled: it has no layer with a time; build it again"
        )
    layers = layers_of_times(found[-runs:], runner.layers(), source)
    memory, why = device_memory(runner.engine)
    return Profiled(tuple(layers), whole_ms, runs, memory, why)


def layers_of_times(
    runs: Sequence[dict[str, float]], described: Sequence[EngineLayer], source: Source
) -> list[LayerTime]:
    """Layers in what the profiler was told in several runs.

    Args:
        runs: milliseconds by the name of the layer, of each run.
        described: the engine's layers as its inspector tells them.
        source: the file that it was built from.
    """
    known = {layer.name: layer for layer in described}
    layers = []
    for name, ms in medians(runs).items():
        layer = known.get(name)
        names = layer.nodes if layer is not None else tuple(name.split(" + "))
        nodes, modules = source.origin(names)
        kind, precision = (layer.kind, layer.precision) if layer is not None else ("", None)
        layers.append(LayerTime(name, kind or "layer", ms, precision, nodes, modules))
    return layers


def device_memory(engine: Any) -> tuple[int | None, str]:
    """Bytes that a context of the engine needs beside the weights; None, and why."""
    for name in ("device_memory_size_v2", "device_memory_size"):
        if (size := getattr(engine, name, None)) is not None:
            return int(size), ""
    return None, "this TensorRT does not tell the memory of an engine"


def _make_profiler(module: Any) -> Any:
    """An object that keeps what TensorRT reports, in ``spent``: milliseconds by layer."""

    class Profiler(module.IProfiler):
        def __init__(self) -> None:
            module.IProfiler.__init__(self)
            self.spent: dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.spent[layer_name] = self.spent.get(layer_name, 0.0) + float(ms)

    return Profiler()
