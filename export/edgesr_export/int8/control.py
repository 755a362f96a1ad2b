"""Which layers may be int8 within limits on validation data?

All are tried together first. Where they lose too much, each unit is quantised alone and ranked by
what it costs; the worst go back to float until the limits hold. How many must go is found by
bisection, because costs add up nearly monotonically; what is returned was measured as it is.

A deep network has many layers and each costs a run over the validation data. So there is a clock:
what it leaves no time to measure alone stays float, and is said to.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgesr_export.errors import ExportError
from edgesr_export.watch import Watch, unwatched

MOST_SECONDS = 300.0
"""That units are measured alone for."""

Metrics = Mapping[str, float | np.ndarray]
"""A network's "mpsnr" (dB) and "sam" (degrees) on validation data: a number each, or one for each
block, [blocks] or [blocks, bands], whose mean is meant."""

Evaluate = Callable[[Callable[[np.ndarray], np.ndarray]], Metrics]
"""Takes a network as a function [N, B, h, w] -> [N, B, H, W] and answers its metrics."""

Interval = Callable[[np.ndarray], tuple[float, float] | None]
"""Takes what each block loses, as metrics have it, and answers both ends of the interval of the
mean; None where there is none."""


@dataclass(frozen=True)
class Drop:
    """What is lost: PSNR in dB and SAM in degrees; negative where something was gained.

    Attributes:
        psnr, sam: means over blocks.
        psnr_interval, sam_interval: both ends of their intervals; None where there are none.
    """

    psnr: float
    sam: float
    psnr_interval: tuple[float, float] | None = None
    sam_interval: tuple[float, float] | None = None

    @classmethod
    def between(cls, before: Metrics, after: Metrics, interval: Interval | None = None) -> Drop:
        """From one network to another, measured on the same blocks."""
        psnr = np.asarray(before["mpsnr"]) - np.asarray(after["mpsnr"])
        sam = np.asarray(after["sam"]) - np.asarray(before["sam"])
        ends = [interval(one) if interval and one.ndim else None for one in (psnr, sam)]
        return cls(float(psnr.mean()), float(sam.mean()), *ends)

    @property
    def worst_psnr(self) -> float:
        """The upper end of the interval of ``psnr``; itself where there is none."""
        return self.psnr_interval[1] if self.psnr_interval else self.psnr

    @property
    def worst_sam(self) -> float:
        """The upper end of the interval of ``sam``; itself where there is none."""
        return self.sam_interval[1] if self.sam_interval else self.sam


@dataclass(frozen=True)
class Limits:
    """Largest accepted drop, each at least 0; of one that has intervals, their upper ends count.

    Raises:
        ExportError: a limit that is negative or no number.
    """

    psnr: float
    sam: float

    def __post_init__(self) -> None:
        for name, limit in (("max_psnr_drop", self.psnr), ("max_sam_drop", self.sam)):
            if not limit >= 0:
                raise ExportError(f"{name} is a number from 0, got {limit}")

    def hold(self, drop: Drop) -> bool:
        return drop.worst_psnr <= self.psnr and drop.worst_sam <= self.sam

    def share(self, drop: Drop) -> float:
        """The part of the tighter limit that ``drop`` uses up."""
        tiny = 1e-9  # a limit of 0 still ranks
        return max(drop.worst_psnr / (self.psnr + tiny), drop.worst_sam / (self.sam + tiny))


@dataclass
class Decision:
    """Outcome of :func:`control`.

    Attributes:
        chosen: units in int8.
        drop: of all of them together.
        alone: drop of each unit alone; empty where all were accepted at once.
        ranking: units from the gentlest to the worst; likewise.
        trials: sets that were evaluated.
        unmeasured: units that no time was left for.
    """

    chosen: tuple[int, ...]
    drop: Drop
    alone: dict[int, Drop] = field(default_factory=dict)
    ranking: tuple[int, ...] = ()
    trials: int = 0
    unmeasured: tuple[int, ...] = ()


def control(
    units: Sequence[object],
    measure: Callable[[Sequence[int]], Drop],
    limits: Limits,
    *,
    seconds: float = MOST_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    told: Callable[[str], None] = lambda _: None,
    watch: Watch = unwatched,
) -> Decision:
    """Find units whose joint drop is within the limits.

    Args:
        units: what is decided on, one by one.
        measure: drop of the network with the units of these indices in int8.
        limits: that must hold.
        seconds: after which no further unit is measured alone.
        clock: seconds.
        told: is told what no time was left for.
        watch: passes on the units and shows how far it is.
    """
    everything, began = tuple(range(len(units))), clock()
    drop = measure(everything) if everything else Drop(0.0, 0.0)
    if limits.hold(drop):
        return Decision(everything, drop, trials=1 if everything else 0)
    alone: dict[int, Drop] = {}
    for index in watch(everything, "try layers in int8 alone"):
        if clock() - began > seconds:
            break
        alone[index] = measure([index])
    left = everything[len(alone) :]
    if left:
        told(f"int8: {len(left)} of {len(units)} layers stay float: {seconds:.0f} s are over")
    ranking = tuple(sorted(alone, key=lambda index: limits.share(alone[index])))
    decision = Decision((), Drop(0.0, 0.0), alone, ranking, trials=1 + len(alone), unmeasured=left)
    # how many of the gentlest hold; how many still may: all did not, unless some are left out
    holding, most = 0, len(alone) - (0 if left else 1)
    while holding < most:
        count = math.ceil((holding + most) / 2)
        chosen = tuple(sorted(ranking[:count]))
        drop = measure(chosen)
        decision.trials += 1
        if limits.hold(drop):
            holding = count
            decision.chosen, decision.drop = chosen, drop
        else:
            most = count - 1
    return decision


def checked_metrics(evaluate: Evaluate, network: Callable[[np.ndarray], np.ndarray]) -> Metrics:
    """The two measures of a network.

    Raises:
        ExportError: one is missing or not finite.
    """
    found = evaluate(network)
    for name in ("mpsnr", "sam"):
        mean = float(np.mean(found.get(name, math.nan)))
        if not math.isfinite(mean):
            raise ExportError(
                f"the evaluation answers {name}={mean}; a finite number is needed: check the"
                " validation data"
            )
    return found
