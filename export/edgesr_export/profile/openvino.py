"""Layers as OpenVINO's performance counters tell them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgesr_export.openvino import OpenVinoSession
from edgesr_export.profile.layers import (
    RUNS,
    WARMUP,
    LayerTime,
    Profiled,
    check_runs,
    medians,
    whole_call,
)
from edgesr_export.profile.memory import PeakMemory
from edgesr_export.profile.source import Source, read_source

_TYPES = {
    **dict.fromkeys(("i8", "u8"), "int8"),
    "f16": "fp16",
    "bf16": "bf16",
    "f32": "fp32",
}
Counters = Sequence[tuple[str, str, float]]
"""Name, type and milliseconds of each layer that was executed in one run."""


def openvino_profile(
    path: Path | str,
    image: np.ndarray,
    *,
    threads: int = 1,
    precision: str = "float32",
    runs: int = RUNS,
) -> Profiled:
    """Layers of an ONNX file in OpenVINO on the CPU, its changes of layout included.

    Args:
        path: ONNX file of one input.
        image: what to run it on; the file is loaded for this size alone.
        threads: threads that a call uses.
        precision: "float32" or "bfloat16".
        runs: measured runs, at least 1, after two that are not.

    Raises:
        ExportError: OpenVINO is not installed, or a file, a precision or an image that it cannot
            run.
    """
    check_runs(runs)
    with PeakMemory() as memory:
        run = OpenVinoSession(path, threads, precision, image.shape)
        whole = whole_call(lambda: run(image), runs)
    counted = OpenVinoSession(path, threads, precision, image.shape, counted=True)
    found: list[Counters] = []
    for _ in range(WARMUP + runs):
        counted(image)
        found.append(
            [
                (one.node_name, one.node_type, one.real_time.total_seconds() * 1e3)
                for one in counted.request.profiling_info
                if one.status == one.Status.EXECUTED
            ]
        )
    layers = layers_of_counters(found[-runs:], _described(counted.compiled), read_source(path))
    return Profiled(tuple(layers), whole, runs, memory.growth_bytes, memory.absent)


def layers_of_counters(
    runs: Sequence[Counters], described: Mapping[str, Mapping[str, str]], source: Source
) -> list[LayerTime]:
    """Layers in the counters of several runs.

    Args:
        runs: counters of each run.
        described: by the name of a layer, ``originalLayersNames`` and ``runtimePrecision`` as the
            runtime model has them.
        source: the file that was run.
    """
    spent: list[dict[str, float]] = []
    kinds: dict[str, str] = {}
    for counters in runs:
        run: dict[str, float] = {}
        for name, kind, ms in counters:
            run[name] = run.get(name, 0.0) + ms
            kinds[name] = kind
        spent.append(run)
    layers = []
    for name, ms in medians(spent).items():
        facts = described.get(name, {})
        nodes, modules = source.origin(facts.get("originalLayersNames", "").split(","))
        precision = _TYPES.get(facts.get("runtimePrecision", ""))
        layers.append(LayerTime(name, kinds[name], ms, precision, nodes, modules))
    return layers


def _described(compiled: Any) -> dict[str, dict[str, str]]:
    """What the runtime model says of each layer."""
    found = {}
    for layer in compiled.get_runtime_model().get_ordered_ops():
        facts = layer.get_rt_info()
        found[layer.get_friendly_name()] = {
            key: _text(facts[key])
            for key in ("originalLayersNames", "runtimePrecision")
            if key in facts
        }
    return found


def _text(value: Any) -> str:
    """A fact as text: it comes as such, or wrapped."""
    return value if isinstance(value, str) else str(value.astype(str))
