"""What the students reach on the test region, beside the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgesr.compress.stages.baselines import Baselines
from edgesr.compress.stages.students import Student, Students
from edgesr.deploy import PLAIN, REWRITTEN
from edgesr.deploy.stage import STUDENT, TEACHER
from edgesr.evaluation.cost import count
from edgesr.evaluation.evaluate import evaluate
from edgesr.evaluation.latency import Timing
from edgesr.loading.workload import Workload
from edgesr.report.build import NetworkResult, StudentResult


@dataclass(frozen=True)
class Judgement:
    """The networks of a run, with cost, quality and latency.

    Attributes:
        reference: before compression.
        student: after it.
        others: what it is compared with, by name.
    """

    reference: NetworkResult
    student: StudentResult
    others: Mapping[str, StudentResult]


def judge(
    workload: Workload, baselines: Baselines, students: Students, timings: Mapping[str, Timing]
) -> Judgement:
    """Measure the students on the test region; no choice depends on it."""
    example = tuple(workload.example().shape)

    def compressed(one: Student, timing: str) -> StudentResult:
        metrics = evaluate(one.model, workload.scene)
        network = NetworkResult(count(one.model, example), metrics, timings[timing])
        return StudentResult(network, one.upsampler, one.training, one.drop)

    others = {
        name: compressed(one, f"{name} {REWRITTEN}") for name, one in students.baselines.items()
    }
    reference = NetworkResult(
        count(workload.model, example),
        baselines.reference,
        timings[f"{TEACHER} {REWRITTEN}"],
        timings.get(f"{TEACHER} {PLAIN}"),
    )
    return Judgement(reference, compressed(students.student, STUDENT), others)
