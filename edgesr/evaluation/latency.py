"""Time callables side by side, so that a change of the machine's mood meets all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from edgesr_export.paired import median_interval

from edgesr.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Timing:
    """Wall time of one call, in milliseconds, over ``repeats`` measured calls.

    ``rounds_ms`` are the calls one by one; those of one :func:`measure` belong together.
    """

    median_ms: float
    p95_ms: float
    min_ms: float
    repeats: int
    rounds_ms: tuple[float, ...] = ()

    def ratio_to(self, other: Timing) -> tuple[float, float]:
        """The 95 % interval of how many times as long this takes, round by round."""
        rounds = zip(self.rounds_ms, other.rounds_ms, strict=True)
        return median_interval([mine / theirs for mine, theirs in rounds])


def measure(
    callables: Mapping[str, Callable[[], object]],
    repeats: int = 20,
    warmup: int = 3,
    *,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Timing]:
    """Call everything in turn, A B C A B C ..., and time each call.

    Args:
        callables: what to time, by name; a callable returns when its work is done.
        repeats: measured rounds, at least 1.
        warmup: rounds before, not measured.
        clock: nanoseconds, monotonic.

    Returns:
        One :class:`Timing` a name, in the order given. Compare only figures of one call.

    Raises:
        OptionError: ``repeats`` below 1 or ``warmup`` below 0.
    """
    if repeats < 1 or warmup < 0:
        raise OptionError(
            f"latency needs at least 1 repeat and 0 warm-up rounds, got {repeats} and {warmup}"
        )
    spent: dict[str, list[int]] = {name: [] for name in callables}
    for round_ in range(warmup + repeats):
        for name, call in callables.items():
            start = clock()
            call()
            elapsed = clock() - start
            if round_ >= warmup:
                spent[name].append(elapsed)
    return {name: _timing(np.array(elapsed) / 1e6) for name, elapsed in spent.items()}


def in_torch(network: nn.Module, image: Tensor) -> Callable[[], object]:
    """Return a call of ``network`` on ``image`` in PyTorch, for one that no other runtime takes."""
    import torch

    def call() -> object:
        with torch.inference_mode():
            return network(image)

    return call


def _timing(milliseconds: np.ndarray) -> Timing:
    return Timing(
        median_ms=float(np.median(milliseconds)),
        p95_ms=float(np.percentile(milliseconds, 95)),
        min_ms=float(milliseconds.min()),
        repeats=len(milliseconds),
        rounds_ms=tuple(milliseconds.tolist()),
    )
