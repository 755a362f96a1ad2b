"""How far measured networks are from the peaks that were measured beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.results import Results
from edgesr.evaluation.roofline import Roof

GROUP = "roofline"


@dataclass(frozen=True)
class Distance:
    """One network in one form.

    Attributes:
        network, form, side: what ran.
        median_ms: measured.
        arithmetic_ms: all MACs at the measured peak of the precision.
        traffic_ms: input, weights and output once at the measured bandwidth of copying.
        gflops: achieved, 2 FLOP a MAC.
        slowest: milliseconds of the slowest types of operator, by name.
    """

    network: str
    form: str
    side: int
    median_ms: float
    arithmetic_ms: float
    traffic_ms: float
    gflops: float
    slowest: dict[str, float]

    @property
    def floor_ms(self) -> float:
        """No faster than this on this machine, whatever the program."""
        return max(self.arithmetic_ms, self.traffic_ms)

    @property
    def bound(self) -> str:
        """What makes the floor."""
        return "arithmetic" if self.arithmetic_ms >= self.traffic_ms else "traffic"

    @property
    def gap(self) -> float:
        """Measured time over the floor."""
        return self.median_ms / self.floor_ms


def worst(found: Sequence[Distance]) -> Distance:
    """The largest gap of what is deployed: plain files count where there is no other form."""
    rewritten = {one.network for one in found if one.form != "plain"}
    deployed = [one for one in found if one.form != "plain" or one.network not in rewritten]
    return max(deployed, key=lambda one: one.gap)


def peaks(results: Results) -> dict[str, tuple[float, str]]:
    """Best rate of each kind ("fp32", "int8", "copy", ...) and its unit, FLOP/s or byte/s.

    That of the fastest round: a peak is what the machine can do, not what it does as a rule.
    """
    best: dict[str, tuple[float, str]] = {}
    for record in results.records(GROUP):
        if "peak" in record.facts:
            kind = record.facts["peak"]
            work = record.facts["work"] * (1 if kind == "copy" else 2)
            rate = work / (record.min_ms / 1e3)
            unit = "byte/s" if kind == "copy" else "FLOP/s"
            if kind not in best or rate > best[kind][0]:
                best[kind] = (rate, unit)
    return best


def distances(results: Results) -> list[Distance]:
    """Every network of the roofline, in the order measured."""
    best = {kind: rate for kind, (rate, _) in peaks(results).items()}
    roof = Roof(best, best.get("copy", math.nan))
    found = []
    for record in results.records(GROUP):
        if "peak" in record.facts:
            continue
        facts, flops = record.facts, 2 * record.facts["macs"]
        found.append(
            Distance(
                facts["network"],
                facts["form"],
                facts["input_shape"][-1],
                record.median_ms,
                roof.arithmetic_ms(facts["macs"], facts["precision"]),
                roof.traffic_ms(facts["least_bytes"]),
                flops / (record.median_ms / 1e3) / 1e9,
                facts["slowest_operators"],
            )
        )
    return found
