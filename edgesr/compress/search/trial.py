"""A trial: one design of the network, and what was measured of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from edgesr.compress.search.design import Design
from edgesr.evaluation.drop import BlockFigures, drop_between


@dataclass(frozen=True)
class Trial:
    """One design and its figures.

    Attributes:
        number: order in which it was tried, from 0.
        design: what was tried.
        label: the design in words.
        changes: everything that :func:`edgesr.surgery.apply_changes` needs to build the network.
        params: of the whole network.
        upsampler_params: of the layers that took the upsamplers' place.
        macs: of one LR tile of 16 x 16.
        start: "psnr_drop" [dB] and "sam_drop" [degrees] on budget windows before any training, and
            the ends of their intervals, see :func:`edgesr.evaluation.drop.drop_between`.
        latency_ms: median on the chosen runtime; None where the design was beyond a limit before.
        finetuned: like ``start``, after a short distillation; None where the design was beyond a
            limit on cost and was not trained.
        finished: like ``start``, after the whole distillation; None where that was not done.
        windows: "psnr" [windows, bands] and "sam" [windows] of ``finetuned``.
        behind: like ``start``, what ``finetuned`` loses against the best of the trials, see
            :func:`against_the_best`; None where that is the reference itself.
    """

    number: int
    design: Design
    label: str
    changes: list[dict[str, Any]]
    params: int
    upsampler_params: int
    macs: int
    start: dict[str, float] = field(default_factory=dict)
    latency_ms: float | None = None
    finetuned: dict[str, float] | None = None
    finished: dict[str, float] | None = None
    windows: dict[str, Any] | None = None
    behind: dict[str, float] | None = None

    @property
    def drop(self) -> dict[str, float]:
        """What is known of its quality after the longest training that it had."""
        return self.finished or self.finetuned or self.start

    def won_on_top(self) -> float:
        """Share of the dB won by the short training that the whole one has won on top, from 0."""
        start, short, whole = (
            found["psnr_drop"] if found else 0.0
            for found in (self.start, self.finetuned, self.finished)
        )
        return max(0.0, short - whole) / (start - short) if short < start else 0.0

    def costs(self) -> dict[str, float]:
        """The figures that a budget may bound, by name; what was not measured is left out."""
        found = {"latency_ms": self.latency_ms, "params": self.params, "macs": self.macs}
        return {name: value for name, value in found.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return asdict(self)


def against_the_best(trials: Sequence[Trial], confidence: float) -> list[Trial]:
    """The trials with what each loses against the best of them, all having been healed alike.

    Healing also makes a network fit the scene better, which the reference was not given the chance
    to: where trials gain on it, a loss against it says little of what compression costs. On other
    parts of a scene the gain is smaller, or none.
    """
    healed = [trial for trial in trials if trial.finetuned and trial.windows]
    best = min(healed, key=_loss, default=None)
    if best is None or _loss(best) >= 0:
        return [replace(trial, behind=None) for trial in trials]
    return [
        replace(trial, behind=drop_between(_figures(best), _figures(trial), confidence))
        if trial in healed
        else trial
        for trial in trials
    ]


def _loss(trial: Trial) -> float:
    assert trial.finetuned is not None
    return trial.finetuned["psnr_drop"]


def _figures(trial: Trial) -> BlockFigures:
    assert trial.windows is not None
    return BlockFigures(np.array(trial.windows["psnr"]), np.array(trial.windows["sam"]))
