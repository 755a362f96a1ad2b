"""The entries of ``report.json``, from what a run has measured."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edgesr_export.onnx import OPSET, applied_rewrites
from edgesr_export.sizes import input_shape
from edgesr_export.tracing import Tracing
from edgesr_export.verify import Agreement
from torch import Tensor

from edgesr.distill.trainer import TrainResult
from edgesr.evaluation.cost import Cost
from edgesr.evaluation.latency import Timing
from edgesr.recipe.recipes import CompressRecipe
from edgesr.surgery import Candidate, Site, Spectrum

RUNTIME = "ONNX Runtime, CPU, float32"
IN_TORCH = "PyTorch, CPU, float32"


def spectrum_entry(name: str, found: Spectrum, target: float) -> dict[str, Any]:
    """Return the spectrum of a site as ``report.json`` has it."""
    return {
        "site": name,
        "rows": found.rows,
        "cols": found.cols,
        "target": target,
        "rank": {kind: found.rank(target, kind) for kind in ("sum", "energy")},
        "effective_rank": found.effective_rank,
        "singular_values": found.values.tolist(),
    }


def site_entry(site: Site) -> dict[str, Any]:
    """Return a site as ``report.json`` has it."""
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in vars(site).items()
    }


def cost_entry(cost: Cost) -> dict[str, Any]:
    """Return what a network costs."""
    return {
        "params": cost.params,
        "macs": cost.macs,
        "macs_input_shape": list(cost.input_shape),
        "upsampler_params": cost.upsampler_params,
    }


def onnx_entry(path: Path, found: Tracing, agreement: Agreement) -> dict[str, Any]:
    """Return what is known of the student's ONNX file, and how it was written."""
    size = input_shape(path)[2:]
    return {
        "path": path.name,
        "opset": OPSET,
        "max_abs_difference": agreement.max_abs_difference,
        "inputs": [list(shape) for shape in agreement.inputs],
        "rewrites": applied_rewrites(path),
        "tracing": {
            "how": found.how,
            "size": "free" if None in size else list(size),
            "why": found.why,
            "differs": found.differs,
        },
    }


def latency_entry(
    timing: Timing, tile: Tensor, threads: int, runtime: str = RUNTIME
) -> dict[str, Any]:
    """Return a measured latency, with all that it was measured under."""
    return {
        "runtime": runtime,
        "input_shape": list(tile.shape),
        "threads": threads,
        "repeats": timing.repeats,
        "median": timing.median_ms,
        "p95": timing.p95_ms,
    }


def pass_entry(candidate: Candidate) -> dict[str, Any]:
    """Return which surgery a candidate is."""
    key = "rank" if candidate.method == "lowrank" else "groups"
    return {
        "pass": candidate.method,
        key: candidate.setting,
        "settings": candidate.settings,
    }


def candidate_entry(
    candidate: Candidate, chosen: Candidate, recipe: CompressRecipe
) -> dict[str, Any]:
    """Return a measured candidate, and why it was taken or left."""
    return {
        **pass_entry(candidate),
        "params": candidate.params,
        "upsampler_params": candidate.upsampler_params,
        "macs": candidate.macs,
        "latency_ms": candidate.latency_ms,
        "validation": {"mpsnr_drop": candidate.psnr_drop, "sam_drop": candidate.sam_drop},
        "chosen": candidate is chosen,
        "reason": why(candidate, recipe) if candidate is chosen else why_not(candidate, recipe),
    }


def why(chosen: Candidate, recipe: CompressRecipe) -> str:
    """Say why a candidate was chosen."""
    drop = chosen.psnr_drop or 0.0
    effect = f"{'loses' if drop > 0 else 'gains'} {abs(drop):.3f} dB on validation before training"
    if recipe.is_forced:
        return f"asked for; {effect}"
    if recipe.searches:
        return f"taken by the search; {effect}"
    return f"the fastest that may lose {recipe.max_psnr_drop:g} dB; {effect}"


def why_not(candidate: Candidate, recipe: CompressRecipe) -> str:
    """Say why a candidate was left."""
    if candidate.psnr_drop is not None and candidate.psnr_drop > recipe.max_psnr_drop:
        return f"loses more than {recipe.max_psnr_drop:g} dB"
    drop = candidate.sam_drop
    if recipe.max_sam_drop is not None and drop is not None and drop > recipe.max_sam_drop:
        return f"loses more than {recipe.max_sam_drop:g} degrees"
    return "left by the search" if recipe.searches else "slower, or as fast and larger"


def distillation_entry(training: TrainResult) -> dict[str, Any]:
    """Return how a distillation went, and whether its result or the closed form was kept."""
    best = training.best["epoch"]
    return {
        "epochs": len(training.history),
        "best_epoch": best,
        "kept": "distilled" if best else "closed form",
        "history": training.history,
    }


def file_entry(path: Path) -> dict[str, Any]:
    """Return a file's name, size and SHA-256."""
    content = path.read_bytes()
    return {
        "path": path.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
