"""What every figure is held against: interpolation, and the network before compression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgesr.evaluation.evaluate import evaluate, evaluate_bicubic
from edgesr.loading.workload import Workload


@dataclass(frozen=True)
class Baselines:
    """Quality on the test region: the six metrics by name.

    Attributes:
        bicubic: of interpolation.
        reference: of the uncompressed network.
    """

    bicubic: Mapping[str, float]
    reference: Mapping[str, float]


def measure_baselines(workload: Workload) -> Baselines:
    """Measure both on the test region of the scene."""
    bicubic = evaluate_bicubic(workload.scene)
    return Baselines(bicubic, evaluate(workload.model, workload.scene))
