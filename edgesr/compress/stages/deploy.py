"""From the student's ONNX file to verified files for every target, measured in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesr_export.card import read_card, write_card
from torch import nn

from edgesr.compress.candidates import CalibratedModel
from edgesr.deploy import stage as deployment
from edgesr.deploy.inputs import write_network
from edgesr.deploy.stage import Artifacts, DeployConfig
from edgesr.distill.config import TrainConfig
from edgesr.distill.quantisation import quantisation_aware
from edgesr.evaluation.latency import Timing
from edgesr.loading.workload import Size, Workload
from edgesr.progress import timed_stage
from edgesr.surgery.structure import clone


@dataclass(frozen=True)
class Measurement:
    """What the files reach.

    Attributes:
        timings: of the networks that are compared, by name; the student's is "student".
        table: ``deployment`` of the report; None where there is no ONNX file.
        profile: ``profile`` of the report; likewise.
    """

    timings: Mapping[str, Timing]
    table: Mapping[str, Any] | None = None
    profile: Mapping[str, Any] | None = None


def quantisation_tuner(
    student: nn.Module,
    calibrated: CalibratedModel,
    teacher: nn.Module,
    config: TrainConfig,
    size: Size,
    source: Path,
    scratch: Path,
) -> Callable[[], Path]:
    """What fine-tunes a student with int8 simulated, and returns its float32 ONNX file.

    Args:
        student: the network; it stays as it is.
        calibrated: its scene, and the sites whose features are held against the teacher's.
        teacher: network to distil from.
        config: how to train.
        size: LR size of the tile that the file is compared on.
        source: the student's ONNX file; the new one is written in the same way.
        scratch: folder of the new file, and of the training's checkpoint.
    """
    workload = calibrated.workload

    def tune() -> Path:
        with timed_stage("fine-tune with quantisation simulated"):
            tuned = quantisation_aware(
                clone(student),
                [workload.scene],
                config,
                sites=calibrated.sites,
                teacher=teacher,
                checkpoint=scratch / "qat.checkpoint",
                resume=True,
            )
        path = scratch / "qat.onnx"
        write_network(tuned.model.cpu().eval(), workload, size, path, like=source)
        if (card := read_card(source)) is not None:
            write_card(path, card)
        return path

    return tune


def measure_files(
    config: DeployConfig,
    folder: Path,
    made: Artifacts,
    workload: Workload,
    student: nn.Module,
    others: Mapping[str, nn.Module],
    scratch: Path,
) -> Measurement:
    """Measure every file beside the reference and others.

    The arguments are those of :func:`edgesr.deploy.stage.measure`.
    """
    table, timings = deployment.measure(config, folder, made, workload, student, others, scratch)
    profile = deployment.profile(config, folder, made, workload, scratch)
    return Measurement(timings, table, profile)


def measure_in_torch(
    size: Size, workload: Workload, student: nn.Module, others: Mapping[str, nn.Module]
) -> Measurement:
    """Time networks that have no ONNX file, in PyTorch."""
    return Measurement(deployment.measure_in_torch(size, workload, student, others))
