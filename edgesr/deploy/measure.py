"""Quality, difference and latency of every model, all timed in turn in one process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from edgesr_export.model_file import read_graph
from edgesr_export.native import NativeIO, recorded_io, to_bytes, to_native
from edgesr_export.sizes import input_shape
from edgesr_export.targets import ALWAYS, Row, find_target
from edgesr_export.tracing import usable
from torch import Tensor, nn

from edgesr.cube import Scene
from edgesr.deploy.engines import Engine
from edgesr.deploy.native import in_numpy
from edgesr.deploy.quality import Network, on_test
from edgesr.deploy.variants import Model
from edgesr.evaluation.evaluate import inference
from edgesr.evaluation.latency import Timing, measure
from edgesr.progress import track

WARMUP = 1
SECONDS = 1.5  # that a network is timed: slow ones take part in fewer rounds
IN_GRAPH, IN_NUMPY = "native", "numpy"

Call = Callable[[], np.ndarray]


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
class Truth:
    """What every model must equal, and what its quality is measured on.

    Attributes:
        student: the network, in torch.
        scene: whose test region the metrics are taken on.
        inputs: [N, B, h, w] to compare on; those that the file takes are.
    """

    student: nn.Module
    scene: Scene
    inputs: Sequence[Tensor]


@dataclass(frozen=True)
class Conditions:
    """What is timed, and how.

    Attributes:
        tile: [1, B, h, w].
        threads: threads of the CPU's runtimes.
        repeats: measured rounds.
    """

    tile: np.ndarray
    threads: int
    repeats: int = 15


def measure_models(
    folder: Path,
    models: Sequence[Model],
    engines: Sequence[Engine],
    truth: Truth,
    conditions: Conditions,
    baselines: Sequence[Baseline] = (),
) -> tuple[list[dict[str, Any]], dict[str, Timing]]:
    """Measure every model on every runtime that is here.

    Args:
        folder: of the run.
        models: what was made; paths are relative to ``folder``.
        engines: what was built of them.
        truth: what they must equal.
        conditions: what is timed.
        baselines: networks to time in the same rounds.

    Returns:
        Entries of ``deployment.models`` of the report, and times: of the baselines by name, and of
        the models by :func:`timed_name`.
    """
    shape = input_shape(folder / models[0].path)
    student = truth.student
    with inference(student):
        taken = usable(student, truth.inputs, shape)
        answers = [(one.numpy(), student(one).numpy()) for one in taken]
    rows = [(one, row) for one in models for row in _rows(folder, one, engines, conditions)]
    calls: dict[str, Call] = {
        f"row {index}": partial(row.timed, conditions.tile)
        for index, (_, row) in enumerate(rows)
        if row.timed
    }
    calls |= {f"baseline {one.name}": partial(one.network, conditions.tile) for one in baselines}
    natives = {one.path: _native_rows(folder, one, engines, conditions) for one in models}
    for index, (model, row) in enumerate(rows):
        found = _native_calls(folder, model, row, natives[model.path], conditions)
        calls |= {f"{kind} {index}": call for kind, call in found.items()}
    watch = partial(track, text="time models")
    timings = measure(calls, conditions.repeats, WARMUP, seconds=SECONDS, watch=watch)
    entries = []
    named = {one.name: timings[f"baseline {one.name}"] for one in baselines}
    for index, (model, row) in enumerate(track(rows, "measure models")):
        metrics = on_test(row.judge, truth.scene, shape)
        difference, timing = _difference(row.judge, answers), timings.get(f"row {index}")
        entry = _entry(folder, model, row, metrics, difference, timing)
        if timing is not None:
            named[timed_name(row.precision, row.runtime)] = timing
        own, around = (timings.get(f"{kind} {index}") for kind in (IN_GRAPH, IN_NUMPY))
        native = {} if model.native is None else {"native": _native(folder, model, own, around)}
        entries.append({**entry, **native})
    return entries, named


def timed_name(precision: str, runtime: str) -> str:
    """Name of a model among the times."""
    return f"student {precision}, {runtime}"


def ratios(
    pairs: Mapping[str, tuple[str, str]], timings: Mapping[str, Timing]
) -> list[dict[str, Any]]:
    """Entries of ``deployment.ratios``: by the name of a comparison, from what, to what."""
    return [
        {
            "name": name,
            "from": before,
            "from_ms": timings[before].median_ms,
            "to": after,
            "to_ms": timings[after].median_ms,
            "ratio": timings[before].median_ms / timings[after].median_ms,
            "interval": list(timings[before].ratio_to(timings[after])),
        }
        for name, (before, after) in pairs.items()
    ]


def _rows(
    folder: Path, model: Model, engines: Sequence[Engine], conditions: Conditions
) -> list[Row]:
    engine = next((folder / one.path for one in engines if one.model == model.path), None)
    return find_target(model.target).measured(
        folder / model.path,
        model.precision,
        engine=engine,
        threads=conditions.threads,
        shape=conditions.tile.shape,
    )


def _native_rows(
    folder: Path, model: Model, engines: Sequence[Engine], conditions: Conditions
) -> list[Row]:
    """The rows of a model's native file."""
    if model.native is None:
        return []
    native = replace(model, path=model.native.path, native=None)
    tile, _ = _native_tile(folder, model, conditions)
    return _rows(folder, native, engines, replace(conditions, tile=tile))


def _native_calls(
    folder: Path, model: Model, row: Row, natives: Sequence[Row], conditions: Conditions
) -> dict[str, Call]:
    """What is timed from native numbers to native numbers beside ``row``.

    The native file on the same runtime and, on the CPU's own target, the row itself with NumPy
    around it.
    """
    own = [one for one in natives if (one.runtime, one.precision) == (row.runtime, row.precision)]
    if not own or row.timed is None or own[0].timed is None:
        return {}
    tile, io = _native_tile(folder, model, conditions)
    calls: dict[str, Call] = {IN_GRAPH: partial(own[0].timed, tile)}
    if model.target == ALWAYS:
        calls[IN_NUMPY] = partial(in_numpy(row.timed, io), tile)
    return calls


def _native_tile(folder: Path, model: Model, conditions: Conditions) -> tuple[np.ndarray, NativeIO]:
    """The tile that is timed, as the native file takes it, and what its numbers mean."""
    assert model.native is not None
    io = recorded_io(read_graph(folder / model.native.path))
    assert io is not None  # it was made so
    tile = to_native(conditions.tile, io)
    return to_bytes(tile) if io.pairs(io.input_dtype) else tile, io


def _native(
    folder: Path, model: Model, own: Timing | None, around: Timing | None
) -> dict[str, Any]:
    """``native`` of an entry."""
    assert model.native is not None
    content = (folder / model.native.path).read_bytes()
    return {
        **asdict(model.native),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "latency_ms": _times(own),
        **({"numpy_ms": _times(around)} if around else {}),
    }


def _times(timing: Timing | None) -> dict[str, float] | None:
    return None if timing is None else {"median": timing.median_ms, "p95": timing.p95_ms}


def _difference(network: Network, answers: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    return max(float(np.abs(network(image) - right).max()) for image, right in answers)


def _entry(
    folder: Path,
    model: Model,
    row: Row,
    metrics: dict[str, float],
    difference: float,
    timing: Timing | None,
) -> dict[str, Any]:
    content = (folder / model.path).read_bytes()
    return {
        "target": model.target,
        "precision": row.precision,
        "runtime": row.runtime,
        "path": model.path,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "metrics": metrics,
        "metrics_runtime": row.judged_by or row.runtime,
        "max_abs_difference": difference,
        "latency_ms": _times(timing),
        "why_not_timed": row.why_not_timed,
        **{
            key: value
            for key, value in asdict(model).items()
            if key in ("rewrites", "layers", "counts", "validation", "links", "tuned")
        },
    }
