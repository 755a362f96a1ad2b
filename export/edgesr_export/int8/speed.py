"""Which layers get faster in int8 on this CPU? Measured, group by group.

Layers of equal signature form a group. The groups, largest arithmetic first, join the network one
after another; one stays when the network with it is faster than the network without it, both
measured in turn in one process: by the medians, and in most rounds. Both are what will run, after
the rewrites of the target. So the passes over the data that a pair costs, and saves between two
neighbours in int8, count where they occur, and so does a rewrite that a pair prevents. Groups that
were refused are asked once more at the end, when their neighbours are known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgesr_export.int8.layers import Layer
from edgesr_export.int8.trial import Bench

LEAST_GAIN = 0.01
"""Share of the time that a group must save; less is noise, and no reason to lose precision."""

LEAST_WINS = 2 / 3
"""Share of the rounds in which it must be faster: whatever else a machine does moves medians."""


@dataclass(frozen=True)
class GroupSpeed:
    """One group's measurement.

    Attributes:
        kind: words for the layers.
        shape: of their weights.
        layers: their names.
        without_ms: median time of the network before the group joined.
        with_ms: median time with it.
        wins: share of the rounds in which the network was faster with it.
    """

    kind: str
    shape: tuple[int, ...]
    layers: tuple[str, ...]
    without_ms: float
    with_ms: float
    wins: float

    @property
    def pays(self) -> bool:
        """Whether int8 makes the network faster by more than noise."""
        saves = self.with_ms < (1 - LEAST_GAIN) * self.without_ms
        return saves and self.wins >= LEAST_WINS


def faster_groups(
    bench: Bench, layers: Sequence[Layer], image: np.ndarray, repeats: int
) -> list[GroupSpeed]:
    """Measure every group of ``layers`` on ``image`` [N, C, H, W]; the last word on each."""
    waiting = sorted(group_layers(layers), key=_arithmetic, reverse=True)
    joined: set[str] = set()
    verdicts: dict[tuple[str, ...], GroupSpeed] = {}
    for attempt in range(2):
        refused = []
        for group in waiting:
            names = tuple(layer.name for layer in group)
            spent = rounds(
                {
                    "without": _caller(bench, joined, image),
                    "with": _caller(bench, joined | set(names), image),
                },
                repeats,
            )
            verdict = _verdict(group, spent["without"], spent["with"])
            verdicts[names] = verdict
            if verdict.pays:
                joined |= set(names)
            else:
                refused.append(group)
        if not attempt and len(refused) == len(waiting):
            break  # no neighbour changed
        waiting = refused
    return list(verdicts.values())


def group_layers(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Layers of equal signature together, in order of appearance."""
    groups: dict[tuple[object, ...], list[Layer]] = {}
    for layer in layers:
        groups.setdefault(layer.signature, []).append(layer)
    return list(groups.values())


def rounds(
    callables: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, np.ndarray]:
    """Milliseconds [repeats] of each, called in turn A B A B ... after one round untimed."""
    spent: dict[str, list[int]] = {name: [] for name in callables}
    for round_ in range(repeats + 1):
        for name, call in callables.items():
            start = clock()
            call()
            if round_:
                spent[name].append(clock() - start)
    return {name: np.array(elapsed) / 1e6 for name, elapsed in spent.items()}


def _verdict(group: list[Layer], without: np.ndarray, with_it: np.ndarray) -> GroupSpeed:
    return GroupSpeed(
        kind=group[0].kind,
        shape=group[0].shape,
        layers=tuple(layer.name for layer in group),
        without_ms=float(np.median(without)),
        with_ms=float(np.median(with_it)),
        wins=float(np.mean(with_it < without)),
    )


def _caller(bench: Bench, chosen: set[str], image: np.ndarray) -> Callable[[], object]:
    network = bench.timed(chosen)
    return lambda: network(image)


def _arithmetic(group: list[Layer]) -> int:
    return sum(layer.multiplications for layer in group)
