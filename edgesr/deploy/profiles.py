"""Profiles of what was deployed, runtime by runtime, as the report has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from edgesr_export.profile import RUNS, Profiled
from edgesr_export.targets import find_target
from torch import nn

MEGABYTE = 1e6


def profiled_network(name: str, found: Profiled) -> dict[str, Any]:
    """One entry of ``networks`` in a profile of the report; what is not known is left out."""
    memory = (
        {"no_memory": found.no_memory}
        if found.memory_bytes is None
        else {"memory_mb": round(found.memory_bytes / MEGABYTE, 3)}
    )
    layers = []
    for layer in found.layers:
        entry: dict[str, Any] = {"layer": layer.layer, "op": layer.op, "ms": layer.ms}
        if layer.precision:
            entry["precision"] = layer.precision
        if layer.nodes:
            entry["nodes"] = list(layer.nodes)
        if layer.modules:
            entry["modules"] = list(layer.modules)
        layers.append(entry)
    return {"name": name, "layers": layers, "whole_ms": found.whole_ms, **memory}


def profile_models(
    folder: Path,
    models: Iterable[Mapping[str, Any]],
    engines: Iterable[Mapping[str, Any]],
    student: nn.Module,
    image: np.ndarray,
    threads: int,
    runs: int = RUNS,
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Profile every model of a run on its own runtime, and the student in torch.

    Args:
        folder: of the run.
        models, engines: ``models`` and ``engines`` of the deployment, as just measured.
        student: the network that the models were made of.
        image: what to run them on, [1, B, h, w].
        threads: of the CPU's runtimes.
        runs: measured runs of each.

    Returns:
        One profile a runtime, and what could not be profiled here, with the reason.

    Raises:
        ExportError: a model that was timed cannot be profiled, such as an engine whose TensorRT
            has no profiler.
    """
    from edgesr_export.profile.torch import torch_profile

    built = {engine["model"]: folder / engine["path"] for engine in engines}
    networks: dict[str, list[dict[str, Any]]] = {}
    absent = []
    for model in models:
        target, why = find_target(model["target"]), None
        if model["latency_ms"] is None:
            why = str(model["why_not_timed"])
        elif not target.has_profiler:
            why = f"the target {target.name} has no profiler"
        if why:
            absent.append({"what": f"{model['precision']}, {model['runtime']}", "why": why})
            continue
        found = target.profile(
            folder / model["path"],
            model["precision"],
            image,
            engine=built.get(model["path"]),
            threads=threads,
            runs=runs,
        )
        entry = profiled_network(f"student {model['precision']}", found)
        networks.setdefault(model["runtime"], []).append(entry)
    in_torch = torch_profile(student, image, threads=threads, runs=runs)
    networks["PyTorch, CPU"] = [profiled_network("student", in_torch)]
    return [
        {
            "runtime": runtime,
            "input_shape": list(image.shape),
            "threads": threads,
            "runs": runs,
            "networks": profiled,
        }
        for runtime, profiled in networks.items()
    ], absent
