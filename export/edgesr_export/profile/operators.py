"""Milliseconds per operator type, as ONNX Runtime spends them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

RUNS = 9


def profile(
    path: Path | str, image: np.ndarray, *, threads: int = 1, runs: int = RUNS
) -> dict[str, float]:
    """Milliseconds of one run, by operator type, the slowest first: sums of medians.

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
    from edgesr_export.profile.ort import node_times

    spent: Counter[str] = Counter()
    for layer in node_times(path, image, threads=threads, runs=runs):
        spent[layer.op] += layer.ms  # type: ignore[assignment]
    return dict(spent.most_common())


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
