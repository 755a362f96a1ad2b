"""The entries of ``report.json``, from what a run has measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesr_export.onnx import OPSET, applied_rewrites
from edgesr_export.sizes import input_shape
from edgesr_export.tracing import Tracing
from edgesr_export.verify import Agreement

from edgesr.distill.trainer import TrainResult
from edgesr.evaluation.latency import Timing
from edgesr.files import file_sha256
from edgesr.report.model import (
    CandidateEntry,
    ChosenEntry,
    Distillation,
    File,
    Latency,
    OnnxFile,
    Ranks,
    SiteEntry,
    SpectrumEntry,
    setting_key,
)
from edgesr.report.validation import typed
from edgesr.surgery import Candidate, Site, Spectrum
from edgesr.surgery.passes import PASSES

RUNTIME = "ONNX Runtime, CPU, float32"
IN_TORCH = "PyTorch, CPU, float32"


@dataclass(frozen=True)
class Selection:
    """By what a candidate was chosen.

    Attributes:
        psnr_drop: largest loss of MPSNR on validation, dB.
        sam_drop: largest growth of SAM there, degrees; None for any.
        forced: whether one setting was asked for, so that no limit decided.
        searched: whether a search over the whole network has chosen.
    """

    psnr_drop: float
    sam_drop: float | None = None
    forced: bool = False
    searched: bool = False


@dataclass(frozen=True)
class Conditions:
    """What the latencies of a run hold for.

    Attributes:
        input_shape: [N, B, h, w] of the LR input.
        threads: of the runtime.
        runtime: what executes the networks.
    """

    input_shape: Sequence[int]
    threads: int
    runtime: str = RUNTIME


def spectrum_entry(name: str, found: Spectrum, target: float) -> SpectrumEntry:
    """Return the spectrum of a site as ``report.json`` has it."""
    return SpectrumEntry(
        site=name,
        rows=found.rows,
        cols=found.cols,
        target=target,
        rank=Ranks(sum=found.rank(target, "sum"), energy=found.rank(target, "energy")),
        effective_rank=found.effective_rank,
        singular_values=found.values.tolist(),
    )


def site_entry(site: Site) -> SiteEntry:
    """Return a site as ``report.json`` has it."""
    return typed(vars(site), SiteEntry)


def onnx_entry(path: Path, found: Tracing, agreement: Agreement) -> OnnxFile:
    """Return what is known of the student's ONNX file, and how it was written."""
    size = input_shape(path)[2:]
    entry = {
        "path": path.name,
        "opset": OPSET,
        "max_abs_difference": agreement.max_abs_difference,
        "inputs": agreement.inputs,
        "rewrites": applied_rewrites(path),
        "tracing": {
            "how": found.how,
            "size": "free" if None in size else size,
            "why": found.why,
            "differs": found.differs,
        },
    }
    return typed(entry, OnnxFile)


def latency_entry(timing: Timing, conditions: Conditions) -> Latency:
    """Return a measured latency, with all that it was measured under."""
    return Latency(
        runtime=conditions.runtime,
        input_shape=list(conditions.input_shape),
        threads=conditions.threads,
        repeats=timing.repeats,
        median=timing.median_ms,
        p95=timing.p95_ms,
    )


def surgery(candidate: Candidate) -> dict[str, Any]:
    """Return which surgery a candidate is: the keys of a ``SurgeryEntry``."""
    return {
        "pass": candidate.method,
        setting_key(PASSES[candidate.method].setting): candidate.setting,
        "settings": candidate.settings,
    }


def chosen_entry(chosen: Candidate, selection: Selection) -> ChosenEntry:
    """Return the surgery of the student, and why it was taken."""
    return typed({**surgery(chosen), "why": why(chosen, selection)}, ChosenEntry)


def candidate_entry(
    candidate: Candidate, chosen: Candidate | None, selection: Selection
) -> CandidateEntry:
    """Return a measured candidate, and why it was taken or left."""
    entry = {
        **surgery(candidate),
        "params": candidate.params,
        "upsampler_params": candidate.upsampler_params,
        "macs": candidate.macs,
        "latency_ms": candidate.latency_ms,
        "validation": {"mpsnr_drop": candidate.psnr_drop, "sam_drop": candidate.sam_drop},
        "chosen": candidate is chosen,
        "reason": (why if candidate is chosen else why_not)(candidate, selection),
    }
    return typed(entry, CandidateEntry)


def why(chosen: Candidate, selection: Selection) -> str:
    """Say why a candidate was chosen."""
    drop = chosen.psnr_drop or 0.0
    effect = f"{'loses' if drop > 0 else 'gains'} {abs(drop):.3f} dB on validation before training"
    if selection.forced:
        return f"asked for; {effect}"
    if selection.searched:
        return f"taken by the search; {effect}"
    return f"the fastest that may lose {selection.psnr_drop:g} dB; {effect}"


def why_not(candidate: Candidate, selection: Selection) -> str:
    """Say why a candidate was left."""
    if candidate.psnr_drop is not None and candidate.psnr_drop > selection.psnr_drop:
        return f"loses more than {selection.psnr_drop:g} dB"
    drop = candidate.sam_drop
    if selection.sam_drop is not None and drop is not None and drop > selection.sam_drop:
        return f"loses more than {selection.sam_drop:g} degrees"
    return "left by the search" if selection.searched else "slower, or as fast and larger"


def distillation_entry(training: TrainResult) -> Distillation:
    """Return how a distillation went, and whether its result or the closed form was kept."""
    best = training.best["epoch"]
    return Distillation(
        epochs=len(training.history),
        best_epoch=best,
        kept="distilled" if best else "closed form",
        history=training.history,
    )


def file_entry(path: Path) -> File:
    """Return a file's name, size and SHA-256."""
    return File(path=path.name, bytes=path.stat().st_size, sha256=file_sha256(path))
