"""Quality, difference and latency of every model, all timed in turn in one process."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from edgesr_export.errors import ExportError
from edgesr_export.runtime import session
from edgesr_export.sizes import input_shape
from edgesr_export.tracing import usable
from torch import Tensor, nn

from edgesr.cube import Scene
from edgesr.deploy.engines import Engine
from edgesr.deploy.quality import Network, on_test
from edgesr.deploy.variants import Model
from edgesr.evaluation.evaluate import inference
from edgesr.evaluation.latency import Timing, measure
from edgesr.progress import timed_stage, track

ONNX_RUNTIME = "ONNX Runtime, CPU"
OPENVINO = "OpenVINO, CPU"
TENSORRT = "TensorRT"
NO_GPU = "it needs a GPU and none is here; the bundle measures it on a board"
WARMUP = 2


@dataclass(frozen=True)
class Baseline:
    """A network to time beside the models, such as the uncompressed one.

    Attributes:
        name: under which its time is given.
        network: what is called.
    """

    name: str
    network: Network


@dataclass(frozen=True)
class _Row:
    """One line of the table: a model on a runtime."""

    model: Model
    runtime: str
    precision: str
    judge: Network  # computes the metrics
    timed: Network | None
    why_not_timed: str | None = None


def measure_models(
    folder: Path,
    models: Sequence[Model],
    engines: Sequence[Engine],
    student: nn.Module,
    scene: Scene,
    inputs: Sequence[Tensor],
    tile: np.ndarray,
    threads: int,
    baselines: Sequence[Baseline] = (),
    repeats: int = 15,
) -> tuple[list[dict[str, Any]], dict[str, Timing]]:
    """Measure every model on every runtime that is here.

    Args:
        folder: of the run.
        models: what was made; paths are relative to ``folder``.
        engines: what was built of them.
        student: the network that all of them must equal, in torch.
        scene: whose test region the metrics are taken on.
        inputs: [N, B, h, w] to compare with ``student`` on; those that it takes are.
        tile: [1, B, h, w] to time.
        threads: threads of the CPU's runtimes.
        baselines: networks to time in the same rounds.
        repeats: measured rounds.

    Returns:
        Entries of ``deployment.models`` of the report, and the times of the baselines by name.
    """
    shape = input_shape(folder / models[0].path)
    with inference(student):
        taken = usable(student, inputs, shape)
        answers = [(one.numpy(), student(one).numpy()) for one in taken]
    rows = [row for model in models for row in _rows(folder, model, engines, threads, tile.shape)]
    calls = {f"row {index}": row.timed for index, row in enumerate(rows) if row.timed}
    calls |= {f"baseline {baseline.name}": baseline.network for baseline in baselines}
    with timed_stage("time models"):
        timings = measure(
            {name: partial(call, tile) for name, call in calls.items()}, repeats, WARMUP
        )
    entries = []
    for index, row in enumerate(track(rows, "measure models")):
        metrics, difference = on_test(row.judge, scene, shape), _difference(row.judge, answers)
        entries.append(_entry(folder, row, metrics, difference, timings.get(f"row {index}")))
    return entries, {baseline.name: timings[f"baseline {baseline.name}"] for baseline in baselines}


def ratios(pairs: Mapping[str, tuple[str, float, str, float]]) -> list[dict[str, Any]]:
    """Entries of ``deployment.ratios``: what is compared, from what, to what, in milliseconds."""
    return [
        {
            "name": name,
            "from": before,
            "from_ms": from_ms,
            "to": after,
            "to_ms": to_ms,
            "ratio": from_ms / to_ms,
        }
        for name, (before, from_ms, after, to_ms) in pairs.items()
    ]


def _rows(
    folder: Path, model: Model, engines: Sequence[Engine], threads: int, shape: Sequence[int]
) -> list[_Row]:
    path = folder / model.path
    if model.target == "openvino":
        return _openvino_rows(path, model, threads, shape)
    own = session(path, threads)
    if model.target == "cpu":
        return [_Row(model, ONNX_RUNTIME, model.precision, own, own)]
    engine = next((one for one in engines if one.model == model.path), None)
    runner, why = _on_gpu(folder, engine)
    return [_Row(model, TENSORRT, model.precision, runner or own, runner, why)]


def _openvino_rows(path: Path, model: Model, threads: int, shape: Sequence[int]) -> list[_Row]:
    """Float32 and, where the CPU has it, bfloat16; what is timed knows its one size beforehand."""
    from edgesr_export.openvino import openvino_session

    kinds = {"fp32": "float32"}
    judges = {"fp32": openvino_session(path, threads)}
    with suppress(ExportError):  # a CPU without it
        judges["bf16"] = openvino_session(path, threads, "bfloat16")
        kinds["bf16"] = "bfloat16"
    rows = [
        _Row(model, OPENVINO, name, judge, openvino_session(path, threads, kinds[name], shape))
        for name, judge in judges.items()
    ]
    if model.precision == "int8":
        name = "int8, bf16" if "bf16" in judges else "int8"
        rows = [replace(rows[-1], precision=name)]
    return rows


def _on_gpu(folder: Path, engine: Engine | None) -> tuple[Network | None, str | None]:
    from edgesr_export.tensorrt import Runner
    from edgesr_export.tensorrt.cuda import find_device

    if engine is None or find_device() is None:
        return None, NO_GPU
    try:
        return Runner(folder / engine.path, onnx=folder / engine.model, cuda_graph=True), None
    except ExportError as error:
        return None, f"not run here: {error}"


def _difference(network: Network, answers: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    return max(float(np.abs(network(image) - right).max()) for image, right in answers)


def _entry(
    folder: Path, row: _Row, metrics: dict[str, float], difference: float, timing: Timing | None
) -> dict[str, Any]:
    content = (folder / row.model.path).read_bytes()
    where = row.runtime if row.timed else ONNX_RUNTIME
    return {
        "target": row.model.target,
        "precision": row.precision,
        "runtime": row.runtime,
        "path": row.model.path,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "metrics": metrics,
        "metrics_runtime": where,
        "max_abs_difference": difference,
        "latency_ms": None
        if timing is None
        else {"median": timing.median_ms, "p95": timing.p95_ms},
        "why_not_timed": row.why_not_timed,
        **{
            key: value
            for key, value in asdict(row.model).items()
            if key in ("rewrites", "layers", "counts", "validation", "links", "tuned")
        },
    }
