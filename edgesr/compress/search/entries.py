"""``search`` of ``report.json``."""

from __future__ import annotations

from typing import Any

from edgesr.compress.search.budget import Budget
from edgesr.compress.search.design import ERRORS
from edgesr.compress.search.loop import Search
from edgesr.compress.search.trial import Trial
from edgesr.report.entries import drop_entry


def search_entry(found: Search, budget: Budget, seed: int) -> dict[str, Any]:
    """Return every trial of a search, its Pareto front, and why one was taken."""
    front = {trial.number for trial in found.front}
    return {
        "budget": {
            **budget.costs,
            "psnr_drop": budget.psnr_drop,
            "sam_drop": budget.sam_drop,
            "confidence": budget.confidence,
        },
        "runtime": found.runtime,
        "seed": seed,
        "why": _why(found, budget),
        "blocks": [{"path": path, "distance": distance} for path, distance in found.blocks],
        "trials": [
            {
                **_trial_entry(trial),
                "within": budget.holds(trial),
                "on_front": trial.number in front,
                "chosen": trial.number == found.chosen.number,
            }
            for trial in found.trials
        ],
    }


def _trial_entry(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "label": trial.label,
        "removed": trial.design.removed,
        "layer_error": ERRORS[trial.design.error],
        "params": trial.params,
        "upsampler_params": trial.upsampler_params,
        "macs": trial.macs,
        "latency_ms": trial.latency_ms,
        "before_training": drop_entry(trial.start),
        "validation": trial.finetuned and drop_entry(trial.finetuned),
        "finished": trial.finished and drop_entry(trial.finished),
        "behind": trial.behind and drop_entry(trial.behind),
        "changes": trial.changes,
    }


def _why(found: Search, budget: Budget) -> str:
    tried = f"of {len(found.trials)} designs"
    if not budget.holds(found.chosen):
        return f"closest to the quality asked for {tried} that keep to the limits on cost"
    if budget.costs:
        return f"loses least {tried} within the limits"
    return f"the fastest {tried} within the limits on quality"
