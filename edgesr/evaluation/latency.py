"""Time callables side by side, so that a change of the machine's mood meets all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from edgesr_export.paired import median_interval

from edgesr.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor, nn

FEWEST = 6  # rounds of a slow call: the least whose extremes hold the median with 95 %


@dataclass(frozen=True)
class Timing:
    """Wall time of one call, in milliseconds, over ``repeats`` measured calls.

    ``rounds_ms`` are the calls by round, NaN where one took no part; those of one :func:`measure`
    belong together.
    """

    median_ms: float
    p95_ms: float
    min_ms: float
    repeats: int
    rounds_ms: tuple[float, ...] = ()

    def ratio_to(self, other: Timing) -> tuple[float, float]:
        """The 95 % interval of how many times as long this takes, round by round."""
        ratios = np.array(self.rounds_ms) / np.array(other.rounds_ms)
        low, high = median_interval(ratios[~np.isnan(ratios)].tolist())
        return low, high


def measure(
    callables: Mapping[str, Callable[[], object]],
    repeats: int = 20,
    warmup: int = 3,
    *,
    seconds: float | None = None,
    watch: Callable[[Sequence[int]], Iterable[int]] = iter,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Timing]:
    """Call everything in turn, A B C A B C ..., and time each call.

    Args:
        callables: what to time, by name; a callable returns when its work is done.
        repeats: measured rounds, at least 1.
        warmup: rounds before, not measured.
        seconds: about what each may take in all: slow ones take part in fewer rounds, evenly
            spread, but in :data:`FEWEST` at least; None for every round.
        watch: what the rounds go through, such as :func:`edgesr.progress.track`.
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
    spent = {name: np.full(repeats, np.nan) for name in callables}
    joins = dict.fromkeys(callables, frozenset(range(repeats)))
    for round_ in watch(range(-warmup, repeats)):
        for name, call in callables.items():
            if round_ >= 0 and round_ not in joins[name]:
                continue
            start = clock()
            call()
            elapsed = clock() - start
            if round_ >= 0:
                spent[name][round_] = elapsed / 1e6
            elif seconds is not None:
                joins[name] = _rounds(repeats, seconds, elapsed / 1e9)
    return {name: _timing(elapsed) for name, elapsed in spent.items()}


def _rounds(repeats: int, seconds: float, each: float) -> frozenset[int]:
    """The rounds, of ``repeats``, in which a call of ``each`` seconds takes part."""
    count = min(repeats, max(FEWEST, int(seconds / max(each, 1e-9))))
    return frozenset(np.linspace(0, repeats - 1, count).round().astype(int).tolist())


def in_torch(network: nn.Module, image: Tensor) -> Callable[[], object]:
    """Return a call of ``network`` on ``image`` in PyTorch, for one that no other runtime takes."""
    import torch

    def call() -> object:
        with torch.inference_mode():
            return network(image)

    return call


def _timing(rounds: np.ndarray) -> Timing:
    milliseconds = rounds[~np.isnan(rounds)]
    return Timing(
        median_ms=float(np.median(milliseconds)),
        p95_ms=float(np.percentile(milliseconds, 95)),
        min_ms=float(milliseconds.min()),
        repeats=len(milliseconds),
        rounds_ms=tuple(rounds.tolist()),
    )
