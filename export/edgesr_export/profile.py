"""Where the time of a network goes: milliseconds per operator type, as ONNX Runtime spends them."""

from __future__ import annotations

import json
import tempfile
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgesr_export.errors import ExportError
from edgesr_export.runtime import Session

RUNS = 9
WARMUP = 2

_KERNEL = "_kernel_time"
Event = dict[str, Any]
K = TypeVar("K", bound=Hashable)


def profile(
    path: Path | str, image: np.ndarray, *, threads: int = 1, runs: int = RUNS
) -> dict[str, float]:
    """Median milliseconds of one run, by operator type, the slowest first.

    The operators are those that the runtime executes after its own fusions, among them
    ReorderInput and ReorderOutput, its changes of layout. Measuring slows every operator a little.

    Args:
        path: ONNX file of one input.
        image: what to run it on.
        threads: threads within an operator.
        runs: measured runs, at least 1, after two that are not.

    Raises:
        ExportError: a file or an image that cannot be run.
    """
    spent = _measured(path, image, threads, runs, _type)
    return dict(sorted(spent.items(), key=lambda item: -item[1]))


@dataclass(frozen=True)
class NodeTime:
    """One operator of the network, as the runtime executes it.

    Attributes:
        layer: name of the node.
        op: its type.
        ms: median milliseconds.
    """

    layer: str
    op: str
    ms: float


def node_times(
    path: Path | str, image: np.ndarray, *, threads: int = 1, runs: int = RUNS
) -> list[NodeTime]:
    """Median milliseconds of every node, in the order of execution; see :func:`profile`."""
    spent = _measured(path, image, threads, runs, lambda event: (event["name"], _type(event)))
    return [NodeTime(name.removesuffix(_KERNEL), op, ms) for (name, op), ms in spent.items()]


def table(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """Both profiles side by side, milliseconds, the slowest operator first."""
    names = sorted({*before, *after}, key=lambda n: -max(before.get(n, 0), after.get(n, 0)))
    width = max(map(len, (*names, "operator")))
    lines = [f"{'operator':{width}}  {'before ms':>10}  {'after ms':>10}"]
    for name in names:
        cells = (f"{p[name]:10.2f}" if name in p else f"{'-':>10}" for p in (before, after))
        lines.append(f"{name:{width}}  {'  '.join(cells)}")
    totals = [sum(p.values()) for p in (before, after)]
    lines.append(f"{'sum':{width}}  {totals[0]:10.2f}  {totals[1]:10.2f}")
    return "\n".join(lines)


def _measured(
    path: Path | str, image: np.ndarray, threads: int, runs: int, key: Callable[[Event], K]
) -> dict[K, float]:
    """Median milliseconds by the key of the events, in the order in which keys first occur."""
    if runs < 1:
        raise ExportError(f"a profile needs at least 1 run, got {runs}")
    with tempfile.TemporaryDirectory() as folder:
        run = Session(path, threads, profile_prefix=Path(folder) / "profile")
        for _ in range(WARMUP + runs):
            run(image)
        events = json.loads(run.end_profiling().read_text())
    starts = sorted(event["ts"] for event in events if event["name"] == "model_run")
    spent: dict[K, np.ndarray] = defaultdict(lambda: np.zeros(len(starts)))
    for event in sorted(events, key=lambda event: event["ts"]):
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            spent[key(event)][bisect_right(starts, event["ts"]) - 1] += event["dur"] / 1e3
    return {name: float(np.median(times[-runs:])) for name, times in spent.items()}


def _type(event: Event) -> str:
    return str(event["args"]["op_name"])
