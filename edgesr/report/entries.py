"""The entries of ``report.json``, from what a run has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesr_export.onnx import OPSET, applied_rewrites
from edgesr_export.sizes import input_shape
from edgesr_export.tracing import Tracing
from edgesr_export.verify import Agreement

from edgesr.distill.trainer import TrainResult
from edgesr.evaluation.interval import CONFIDENCE
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
        psnr_drop: largest loss of MPSNR on budget windows, dB.
        sam_drop: largest growth of SAM there, degrees; None for any.
        forced: whether one setting was asked for, so that no limit decided.
        searched: whether a search over the whole network has chosen.
        compared: fields of the comparisons in pairs that decided.
        confidence: of the intervals, in per cent; 0 for none.
    """

    psnr_drop: float
    sam_drop: float | None = None
    forced: bool = False
    searched: bool = False
    compared: Sequence[Mapping[str, Any]] = ()
    confidence: float = CONFIDENCE


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
    entry = {**surgery(chosen), "why": why(chosen, selection)}
    if selection.compared:
        entry["compared"] = list(selection.compared)
    return typed(entry, ChosenEntry)


def candidate_entry(
    candidate: Candidate, chosen: Candidate, selection: Selection
) -> CandidateEntry:
    """Return a measured candidate, and why it was taken or left."""
    entry = {
        **surgery(candidate),
        "params": candidate.params,
        "upsampler_params": candidate.upsampler_params,
        "macs": candidate.macs,
        "latency_ms": candidate.latency_ms,
        "validation": drop_entry(
            {
                "psnr_drop": candidate.psnr_drop,
                "sam_drop": candidate.sam_drop,
                **candidate.interval,
                "folds": candidate.folds,
            }
        ),
        "chosen": candidate is chosen,
        "equal": None if candidate is chosen else are_equal(candidate, chosen),
        "reason": (
            why(candidate, selection)
            if candidate is chosen
            else why_not(candidate, chosen, selection)
        ),
    }
    return typed(entry, CandidateEntry)


def drop_entry(figures: Mapping[str, float | None]) -> dict[str, Any]:
    """Return a loss as ``report.json`` has it: the keys of a ``Drop``."""
    entry: dict[str, Any] = {
        "mpsnr_drop": figures["psnr_drop"], "sam_drop": figures["sam_drop"],
    }  # fmt: skip
    if folds := figures.get("folds"):
        entry["folds"] = folds
    if "psnr_low" in figures:
        entry["mpsnr_interval"] = [figures["psnr_low"], figures["psnr_high"]]
        entry["sam_interval"] = [figures["sam_low"], figures["sam_high"]]
    return entry


def are_equal(one: Candidate, other: Candidate) -> bool | None:
    """Whether the intervals of two candidates' MPSNR overlap; None where one has none."""
    if not (one.interval and other.interval):
        return None
    return (
        one.interval["psnr_low"] <= other.interval["psnr_high"]
        and other.interval["psnr_low"] <= one.interval["psnr_high"]
    )


def why(chosen: Candidate, selection: Selection) -> str:
    """Say why a candidate was chosen."""
    drop = chosen.psnr_drop or 0.0
    effect = f"{'loses' if drop > 0 else 'gains'} {abs(drop):.3f} dB on budget blocks"
    if chosen.folds:
        effect += f" and {chosen.folds} folds of the training part"
    if chosen.interval:
        low, high = chosen.interval["psnr_low"], chosen.interval["psnr_high"]
        effect += f" ({selection.confidence:g} %: change {-high:+.3f} to {-low:+.3f})"
    effect += " before training"
    if selection.forced:
        return f"asked for; {effect}"
    if selection.searched:
        return f"taken by the search; {effect}"
    return f"the fastest that may lose {selection.psnr_drop:g} dB; {effect}"


def why_not(candidate: Candidate, chosen: Candidate, selection: Selection) -> str:
    """Say why a candidate was left."""
    verb = "may lose" if candidate.interval else "loses"
    equal = "; not to be told from the chosen one" if are_equal(candidate, chosen) else ""
    drop = candidate.worst_psnr_drop
    if drop is not None and drop > selection.psnr_drop:
        return f"{verb} more than {selection.psnr_drop:g} dB{equal}"
    drop = candidate.worst_sam_drop
    if selection.sam_drop is not None and drop is not None and drop > selection.sam_drop:
        return f"{verb} more than {selection.sam_drop:g} degrees{equal}"
    slower = "more work, slower, or as fast and larger"
    return f"{'left by the search' if selection.searched else slower}{equal}"


def distillation_entry(
    training: TrainResult, drop: Mapping[str, float] | None = None
) -> Distillation:
    """Return how a distillation went, whether its result or the closed form was kept.

    ``drop`` is what that loses on budget windows, where it was measured.
    """
    best = training.best["epoch"]
    entry = {
        "epochs": len(training.history),
        "best_epoch": best,
        "kept": "distilled" if best else "closed form",
        "share": training.best.get("share"),
        "validation": None if drop is None else drop_entry(drop),
        "history": training.history,
    }
    return typed(entry, Distillation)


def file_entry(path: Path) -> File:
    """Return a file's name, size and SHA-256."""
    return File(path=path.name, bytes=path.stat().st_size, sha256=file_sha256(path))
