"""The report of a run, put together from what its stages returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from edgesr.distill.trainer import TrainResult
from edgesr.evaluation.cost import Cost
from edgesr.evaluation.latency import Timing
from edgesr.report.entries import (
    Conditions,
    Selection,
    candidate_entry,
    chosen_entry,
    distillation_entry,
    file_entry,
    latency_entry,
    site_entry,
    spectrum_entry,
    surgery,
)
from edgesr.report.model import (
    SCHEMA_VERSION,
    Data,
    Deployment,
    Environment,
    Measured,
    Metrics,
    Network,
    OnnxFile,
    PaperBaseline,
    Profile,
    Report,
    SearchEntry,
)
from edgesr.report.validation import typed
from edgesr.surgery import Candidate, Site, Spectrum


@dataclass(frozen=True)
class NetworkResult:
    """A network and what was measured of it.

    Attributes:
        cost: its size and multiply-accumulates.
        metrics: its quality on the test region.
        timing: of the exported network.
        plain_timing: of the same as torch exports it; None where it was not timed.
    """

    cost: Cost
    metrics: Mapping[str, float]
    timing: Timing
    plain_timing: Timing | None = None


@dataclass(frozen=True)
class StudentResult:
    """A network after surgery and distillation.

    Attributes:
        network: what was measured of it.
        upsampler: the surgery on its upsampler; None where there was none.
        training: how its distillation went.
        drop: what it loses on budget windows after that; None where it was not measured.
    """

    network: NetworkResult
    upsampler: Candidate | None
    training: TrainResult
    drop: Mapping[str, float] | None = None


@dataclass(frozen=True)
class RunResult:
    """What the stages of a run returned.

    Attributes:
        folder: of the run, as the user gave it.
        data: the scene in words, as :meth:`edgesr.cube.Scene.describe` has it.
        environment: see :func:`edgesr.report.environment`.
        network: name or factory of the network.
        weights: where the teacher's came from, and the file that holds the student's.
        bicubic: quality of interpolation on the test region.
        teacher, student: the two networks of the run.
        paper, alone: those it is compared with; None where they were left out. A search needs the
            network of which the upsampler alone was made smaller.
        conditions: what the latencies hold for.
        sites, spectra: of the teacher, and the share that ranks are given for.
        candidates, selection: what was measured, and by what it was chosen.
        onnx: the student's file, or why there is none.
        deployment, profile: as :mod:`edgesr.deploy.stage` measured them.
        search: as :func:`edgesr.compress.search.search_entry` tells it.
        timing_s: seconds of each stage.
        recipe: every option that is set.
        files: what it has written and is named in the report.
    """

    folder: Path
    data: Mapping[str, Any]
    environment: Mapping[str, Any]
    network: str
    weights: tuple[str, str]
    bicubic: Mapping[str, float]
    teacher: NetworkResult
    student: StudentResult
    conditions: Conditions
    sites: Sequence[Site]
    spectra: Mapping[str, Spectrum]
    rank_target: float
    candidates: Sequence[Candidate]
    selection: Selection
    onnx: OnnxFile | str
    timing_s: Mapping[str, float]
    recipe: Mapping[str, Any]
    files: Sequence[Path]
    deployment: Mapping[str, Any] | None = None
    profile: Mapping[str, Any] | None = None
    paper: StudentResult | None = None
    alone: StudentResult | None = None
    search: Mapping[str, Any] | None = None


def build_report(run: RunResult) -> Report:
    """Put the report of a run together; the files are read for their sizes and checksums.

    Raises:
        ReportError: a stage returned what the report's types do not know.
    """
    chosen = run.student.upsampler
    teacher, student = (
        {"model": run.network, "weights": weights, **_network(found, run.conditions)}
        for weights, found in zip(run.weights, (run.teacher, run.student.network), strict=True)
    )
    return Report(
        schema_version=SCHEMA_VERSION,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        folder=str(run.folder),
        data=typed(run.data, Data),
        environment=typed(run.environment, Environment),
        bicubic=Measured(metrics=typed(run.bicubic, Metrics)),
        teacher=Network(**teacher),
        student=Network(
            **student, speedup=list(run.teacher.timing.ratio_to(run.student.network.timing))
        ),
        sites=[site_entry(site) for site in run.sites],
        spectrum=[
            spectrum_entry(name, found, run.rank_target) for name, found in run.spectra.items()
        ],
        candidates=[]
        if chosen is None
        else [candidate_entry(one, chosen, run.selection) for one in run.candidates],
        chosen=None if chosen is None else chosen_entry(chosen, run.selection),
        distillation=distillation_entry(run.student.training, run.student.drop),
        paper_baseline=_paper_baseline(run),
        onnx=run.onnx if isinstance(run.onnx, OnnxFile) else None,
        not_exported=run.onnx if isinstance(run.onnx, str) else None,
        deployment=None if run.deployment is None else typed(run.deployment, Deployment),
        profile=None if run.profile is None else typed(run.profile, Profile),
        timing_s=dict(run.timing_s),
        recipe=dict(run.recipe),
        files=[file_entry(path) for path in run.files],
        search=_search(run),
    )


def _network(found: NetworkResult, conditions: Conditions) -> dict[str, Any]:
    """The fields of a ``Network``."""
    plain = found.plain_timing
    return {
        "params": found.cost.params,
        "macs": found.cost.macs,
        "macs_input_shape": list(found.cost.input_shape),
        "upsampler_params": found.cost.upsampler_params,
        "metrics": typed(found.metrics, Metrics),
        "latency_ms": latency_entry(found.timing, conditions),
        "naive_latency_ms": None if plain is None else latency_entry(plain, conditions),
    }


def _baseline(found: StudentResult, conditions: Conditions) -> dict[str, Any]:
    return {
        **_network(found.network, conditions),
        "distillation": distillation_entry(found.training, found.drop),
    }


def _paper_baseline(run: RunResult) -> PaperBaseline | None:
    if run.paper is None or run.paper.upsampler is None:
        return None
    return PaperBaseline(groups=run.paper.upsampler.setting, **_baseline(run.paper, run.conditions))


def _search(run: RunResult) -> SearchEntry | None:
    if run.search is None:
        return None
    entry = dict(run.search)
    if run.alone is not None and run.alone.upsampler is not None:
        alone = {**surgery(run.alone.upsampler), **_baseline(run.alone, run.conditions)}
        entry["upsampler_alone"] = to_builtins(alone)
    return typed(entry, SearchEntry)
