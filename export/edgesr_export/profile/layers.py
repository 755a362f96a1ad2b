"""What every profiler gives, and how it is made of single runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgesr_export.errors import ExportError

RUNS = 20
"""Measured runs of a profile, where nobody asks for more or fewer."""

WARMUP = 2

LOWEST_FIRST = ("int8", "fp16", "bf16", "fp32")


@dataclass(frozen=True)
class LayerTime:
    """One layer, as the runtime executes it.

    Attributes:
        layer: the runtime's name for it.
        op: the runtime's word for what it does.
        ms: median milliseconds.
        precision: lowest type that it reads ("int8", "fp16", "bf16", "fp32"); None where the
            runtime does not say.
        nodes: ONNX nodes that went into it; none for what the runtime added, such as changes of
            layout.
        modules: paths of the network's modules that these nodes come from.
    """

    layer: str
    op: str
    ms: float
    precision: str | None = None
    nodes: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profiled:
    """Where the time of one call goes.

    Attributes:
        layers: in the order of execution.
        whole_ms: median milliseconds of the whole call, timed without the profiler.
        runs: measured runs of each of the two.
        memory_bytes: peak memory: what an engine needs of the device beside its weights, or how
            much the process grew on the CPU; None where it cannot be had.
        no_memory: then, why.
    """

    layers: tuple[LayerTime, ...]
    whole_ms: float
    runs: int
    memory_bytes: int | None = None
    no_memory: str = ""

    @property
    def sum_ms(self) -> float:
        """Milliseconds of all layers together; measuring slows each of them a little."""
        return sum(layer.ms for layer in self.layers)

    def share(self, layer: LayerTime) -> float:
        """Of the sum of all layers, from 0 to 1."""
        return layer.ms / self.sum_ms if self.sum_ms else 0.0


def medians(runs: Sequence[Mapping[Any, float]]) -> dict[Any, float]:
    """Median of each key over runs, in the order in which keys first occur; absent counts as 0."""
    keys = dict.fromkeys(key for run in runs for key in run)
    return {key: float(np.median([run.get(key, 0.0) for run in runs])) for key in keys}


def whole_call(call: Callable[[], object], runs: int) -> float:
    """Median milliseconds of ``call``, after two that are not measured."""
    check_runs(runs)
    spent = []
    for _ in range(WARMUP + runs):
        began = time.perf_counter()
        call()
        spent.append(1e3 * (time.perf_counter() - began))
    return float(np.median(spent[-runs:]))


def check_runs(runs: int) -> None:
    """Raise ExportError where nothing would be measured."""
    if runs < 1:
        raise ExportError(f"a profile needs at least 1 run, got {runs}")


def lowest(precisions: set[str]) -> str | None:
    """The lowest of some precisions; None where none is known."""
    return next((one for one in LOWEST_FIRST if one in precisions), None)
