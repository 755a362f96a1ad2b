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

Evaluate = Callable[[Callable[[np.ndarray], np.ndarray]], Mapping[str, float]]
"""Takes a network as a function [N, B, h, w] -> [N, B, H, W] and answers its "mpsnr" (dB) and
"sam" (degrees) on validation data."""


@dataclass(frozen=True)
class Drop:
    """What is lost: PSNR in dB and SAM in degrees; negative where something was gained."""

    psnr: float
    sam: float


@dataclass(frozen=True)
class Limits:
    """Largest accepted drop, each at least 0.

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
        return drop.psnr <= self.psnr and drop.sam <= self.sam

    def share(self, drop: Drop) -> float:
        """The part of the tighter limit that ``drop`` uses up."""
        tiny = 1e-9  # a limit of 0 still ranks
        return max(drop.psnr / (self.psnr + tiny), drop.sam / (self.sam + tiny))


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


def checked_metrics(
    evaluate: Evaluate, network: Callable[[np.ndarray], np.ndarray]
) -> dict[str, float]:
    """The two measures of a network.

    Raises:
        ExportError: one is missing or not finite.
    """
    found = evaluate(network)
    for name in ("mpsnr", "sam"):
        if not math.isfinite(found.get(name, math.nan)):
            raise ExportError(
                f"the evaluation answers {name}={found.get(name)}; a finite number is needed: "
                "check the validation data"
            )
    return {name: float(value) for name, value in found.items()}
