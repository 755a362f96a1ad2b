"""Distillation of a network after surgery, and how much of it is kept."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgesr.compress.candidates import CalibratedModel, figures_of, quality_drop
from edgesr.compress.search.budget import Budget
from edgesr.distill.config import TrainConfig
from edgesr.distill.state import restore, tensors_of
from edgesr.distill.trainer import TrainResult, train
from edgesr.distill.validation import Validation
from edgesr.evaluation.drop import worst
from edgesr.evaluation.interval import CONFIDENCE
from edgesr.history import MPSNR, SAM
from edgesr.progress import log, timed_stage
from edgesr.surgery import Candidate

SHARES = (0.75, 0.5, 0.25, 0.0)
"""Of the way from the closed form to the trained weights: what is tried where all of it is beyond
the budget."""
BATCH = 8  # tuning windows in a call


def unchanged(model: nn.Module) -> TrainResult:
    """A network that nothing was done to, as if it had been trained."""
    return TrainResult(model, [], {"epoch": 0})


def distil(
    closed: nn.Module,
    calibrated: CalibratedModel,
    config: TrainConfig,
    teacher: nn.Module,
    label: str,
    checkpoint: Path | None = None,
    keep: Mapping[str, Any] | None = None,
) -> TrainResult:
    """Fine-tune a network; tuning blocks decide, so the closed form is the least that comes out.

    Args:
        closed: the network after surgery, in closed form.
        calibrated: its scene, and the sites whose features are held against the teacher's.
        config: how to train.
        teacher: network to distil from.
        label: of the network, for messages.
        checkpoint: file to go on from and to keep the training in; None keeps nothing.
        keep: ``best`` of an earlier run of the same training, which is followed.
    """
    with timed_stage(f"distil {label}"):
        result = train(
            closed,
            [calibrated.workload.scene],
            config,
            teacher=teacher,
            sites=calibrated.sites,
            checkpoint=checkpoint,
            resume=checkpoint is not None,
            keep=keep,
        )
    result.model.cpu().eval()
    return result


def keep_within(
    budget: Budget | None, training: TrainResult, candidate: Candidate, calibrated: CalibratedModel
) -> tuple[TrainResult, dict[str, float]]:
    """Keep of a distillation as much as the budget allows.

    A candidate keeps to the budget in closed form. Training improves its mean and also moves it
    further from the original, so that what it may lose at worst can come out larger. Along the
    straight line between both (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR
    2022) quality changes gradually; the longest of :data:`SHARES` that keeps to the budget is
    taken, at 0 the closed form.

    Args:
        budget: what may be lost; None takes the trained weights whatever they lose.
        training: the distillation of the candidate.
        candidate: the surgery, which keeps to the budget.
        calibrated: the original network.

    Returns:
        The training with what was kept in its network, and what that loses on budget windows (and
        folds, which see closed forms alone), as :func:`quality_drop` tells it, with their number.
    """
    confidence = CONFIDENCE if budget is None else budget.confidence
    before = figures_of([calibrated.workload.model] * (1 + len(calibrated.folds)), calibrated)

    def loss() -> dict[str, float]:
        lost = quality_drop(before, candidate, training.model, calibrated, confidence)
        return {**lost, "folds": len(calibrated.folds)}

    lost = whole = loss()
    if budget is None or not training.best["epoch"] or budget.quality(whole) <= 0:
        return training, lost
    closed, trained = calibrated.operate(candidate), copy.deepcopy(training.model)
    for share in SHARES:
        restore(training.model, part_way(closed, trained, share))
        lost = loss()
        if budget.quality(lost) <= 0:
            break
    log(
        f"{candidate.label}: distilled, it may lose {worst(whole, 'psnr'):.3f} dB on budget blocks;"
        + (f" {share:.0%} of the way there is kept" if share else " the closed form is kept")
    )
    scene = calibrated.workload.scene
    figures = Validation(scene, torch.device("cpu"), BATCH).measure(training.model, nullcontext)
    best = {**training.best, **dict(zip((MPSNR, SAM), figures, strict=True))}
    best |= {"share": share} if share else {"epoch": 0}
    return replace(training, best=best), lost


def part_way(closed: nn.Module, trained: nn.Module, share: float) -> dict[str, Tensor]:
    """The weights at ``share`` of the way from those of ``closed`` to those of ``trained``.

    What is not a floating-point number (a counter) is as trained.
    """
    start = tensors_of(closed)
    return {
        name: start[name].lerp(end, share) if end.is_floating_point() else end
        for name, end in tensors_of(trained).items()
    }
