"""Which layers get faster in int8 on this CPU? Measured, group by group.

Layers of equal signature form a group. The groups, largest arithmetic first, join the network one
after another; one stays when the network with it is shown to be faster than the network without
it, see :mod:`edgesr_export.paired`; equal speed is no reason to lose precision. Both are what will
run, after the rewrites of the target. So the passes over the data that a pair costs, and saves
between two neighbours in int8, count where they occur, and so does a rewrite that a pair prevents.
What each gains may be too little to be seen: those that were neither faster nor slower are asked
once more at the end, all together beside their neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgesr_export.int8.layers import Layer
from edgesr_export.int8.trial import Bench
from edgesr_export.paired import Paired, compare
from edgesr_export.watch import Watch, unwatched


@dataclass(frozen=True)
class GroupSpeed:
    """One group's measurement.

    Attributes:
        kind: words for the layers.
        shape: of their weights.
        layers: their names.
        times: the network before the group joined against the network with it.
    """

    kind: str
    shape: tuple[int, ...]
    layers: tuple[str, ...]
    times: Paired

    @property
    def pays(self) -> bool:
        """Whether int8 makes the network faster."""
        return self.times.verdict > 0

    @property
    def why_not(self) -> str:
        """One line on a group that does not pay."""
        low, high = self.times.interval()
        found = "no faster" if self.times.verdict < 0 else "equally fast"
        return (
            f"{self.kind}: int8 is {found} on this CPU (the network takes {1 / high:.2f} to"
            f" {1 / low:.2f} of the time with it, {len(self.times.first_ms)} rounds)"
        )


def faster_groups(
    bench: Bench,
    layers: Sequence[Layer],
    image: np.ndarray,
    seconds: float,
    watch: Watch = unwatched,
) -> list[GroupSpeed]:
    """Measure every group of ``layers`` on ``image`` [N, C, H, W]; the last word on each.

    The groups share ``seconds`` by their arithmetic, which is what there is to gain; where that
    tells no difference, a group's time is over, but for the least number of rounds. ``watch``
    passes on groups and shows how far it is.
    """
    joined: set[str] = set()
    without = caller(bench, joined, image)
    verdicts: list[GroupSpeed] = []
    waiting = sorted(group_layers(layers), key=_arithmetic, reverse=True)
    whole = sum(map(_arithmetic, waiting))
    for group in watch(waiting, "time kinds of layers in int8"):
        names = tuple(layer.name for layer in group)
        with_it = caller(bench, joined | set(names), image)
        times = compare(without, with_it, seconds=seconds * _arithmetic(group) / whole)
        verdicts.append(GroupSpeed(group[0].kind, group[0].shape, names, times))
        if verdicts[-1].pays:
            joined |= set(names)
            without = with_it
    equal = [one for one in verdicts if one.times.verdict == 0]
    if equal and len(verdicts) > 1:
        together = joined.union(*(one.layers for one in equal))
        times = compare(without, caller(bench, together, image), seconds=seconds / 4)
        if times.verdict > 0:
            verdicts = [replace(one, times=times) if one in equal else one for one in verdicts]
    return verdicts


def group_layers(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Layers of equal signature together, in order of appearance."""
    groups: dict[tuple[object, ...], list[Layer]] = {}
    for layer in layers:
        groups.setdefault(layer.signature, []).append(layer)
    return list(groups.values())


def caller(bench: Bench, chosen: Collection[str], image: np.ndarray) -> Callable[[], object]:
    """A call of the network with the layers named in ``chosen`` in int8."""
    network = bench.timed(chosen)
    return lambda: network(image)


def _arithmetic(group: list[Layer]) -> int:
    return sum(layer.multiplications for layer in group)
