"""What a network may cost and lose, which trials keep to it, and which of them is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesr.errors import OptionError
from edgesr.evaluation.drop import worst
from edgesr.evaluation.interval import CONFIDENCE
from edgesr.surgery.candidates import LATENCY_TIE

if TYPE_CHECKING:
    from edgesr.compress.search.trial import Trial

UNITS = {"latency_ms": "ms", "params": "parameters", "macs": "MACs"}
LOSS_TIE = 0.02
"""Losses within so many dB of the least count as equal: the budget is a few small windows."""
MORE = 0.5
"""Share of what a short healing has won back that the whole one is expected to win on top, until
one has shown it."""
OPTIONS = {"latency_ms": "--max-latency-ms", "params": "--max-params", "macs": "--max-macs"}


@dataclass(frozen=True)
class Budget:
    """Limits of a search.

    Where trials gain on the reference, both limits hold against the best of them as well: see
    :func:`edgesr.compress.search.trial.against_the_best`.

    Attributes:
        costs: largest ``latency_ms``, ``params``, ``macs``; those that were set.
        psnr_drop: largest loss of MPSNR on budget windows, dB.
        sam_drop: largest rise of SAM there, degrees; None for any.
        confidence: of the intervals whose upper ends must keep to both, in per cent; 0 holds the
            drops themselves against them.
    """

    costs: Mapping[str, float]
    psnr_drop: float
    sam_drop: float | None = None
    confidence: float = CONFIDENCE

    def cost(self, figures: Mapping[str, float]) -> float:
        """Largest share of a limit that ``figures`` use up; above 1 breaks it. 0 without limits.

        >>> Budget({"macs": 4e8, "params": 1e6}, 0.1).cost({"macs": 2e8, "params": 9e5})
        0.9
        """
        return max(
            (figures[name] / limit for name, limit in self.costs.items() if name in figures),
            default=0.0,
        )

    def quality(self, drop: Mapping[str, float]) -> float:
        """By how much the worse of the two losses exceeds its limit; at most 0 within them."""
        excess = worst(drop, "psnr") - self.psnr_drop
        return excess if self.sam_drop is None else max(excess, worst(drop, "sam") - self.sam_drop)

    def holds(self, trial: Trial) -> bool:
        """Whether a trial that was finetuned keeps to every limit."""
        return self.affords(trial) and self.excess(trial) <= 0

    def excess(self, trial: Trial, drop: Mapping[str, float] | None = None) -> float:
        """By how much a trial exceeds its limits: with its drop, or another, and what it is behind.

        Both count: the drop against the reference, and that against the best that was healed alike.
        """
        return max(self.quality(one) for one in (drop or trial.drop, trial.behind) if one)

    def affords(self, trial: Trial) -> bool:
        """Whether a trial was finetuned and keeps to every limit on cost."""
        return trial.finetuned is not None and self.cost(trial.costs()) <= 1

    def may_hold(self, trial: Trial, more: float = MORE) -> bool:
        """Whether the whole distillation may bring an affordable trial within the limits.

        It is expected to win the share ``more`` of what the short one has won.
        """
        if trial.finetuned is None or trial.finished is not None:
            return self.holds(trial)
        ahead = {
            name: loss - more * max(0.0, trial.start[name] - loss)
            for name, loss in trial.finetuned.items()
            if name.endswith("_drop")
        }
        return self.holds(trial) or (self.affords(trial) and self.excess(trial, ahead) <= 0)

    def objective(self, trial: Trial) -> float:
        """What the search makes small besides the loss: the use of the limits, else latency."""
        return self.cost(trial.costs()) if self.costs else trial.latency_ms or 0.0


def choose(
    trials: Sequence[Trial],
    budget: Budget,
    faster: Callable[[Trial, Trial], bool] | None = None,
    more: float = MORE,
) -> Trial:
    """The trial to train to the end, of those that are not.

    With limits on cost, the one that loses least within them (of losses within 0.02 dB the
    fastest); without, the fastest within the limits on quality. Those count that the whole training
    may bring there; where none is expected to come there, the one closest to it is taken. Of trials
    as fast as each other it is the one of fewest MACs.

    Args:
        trials: what was tried.
        budget: the limits.
        faster: whether the second of two trials, whose latencies are close, is shown to be faster
            than the first; by default none is.
        more: see :meth:`Budget.may_hold`.

    Raises:
        OptionError: no trial keeps to the limits on cost.
    """
    affordable = [trial for trial in trials if budget.affords(trial)]
    if not affordable:
        raise OptionError(_beyond(trials, budget))
    fitting = [trial for trial in affordable if budget.may_hold(trial, more)]
    if not fitting:
        return min(affordable, key=lambda t: (budget.excess(t), t.drop["psnr_drop"]))
    if budget.costs:
        least = min(trial.drop["psnr_drop"] for trial in fitting)
        fitting = [trial for trial in fitting if trial.drop["psnr_drop"] <= least + LOSS_TIE]
    best, *others = sorted(fitting, key=lambda trial: trial.macs)
    for other in others:
        before, after = best.latency_ms or 0.0, other.latency_ms or 0.0
        tied = after * LATENCY_TIE >= before
        if not tied or (faster and after < before and faster(best, other)):
            best = other
    return best


def _beyond(trials: Sequence[Trial], budget: Budget) -> str:
    """What to say where nothing keeps to the limits on cost."""
    cheapest = min(trials, key=lambda trial: budget.cost(trial.costs()))
    costs = cheapest.costs()
    worst = max(budget.costs, key=lambda name: costs.get(name, 0.0) / budget.costs[name])
    return (
        f"no design of {len(trials)} keeps to {OPTIONS[worst]} {budget.costs[worst]:g}:"
        f" {cheapest.label} comes closest with {costs[worst]:.4g} {UNITS[worst]}; raise the limit"
        " or pass more --trials"
    )


def front(trials: Sequence[Trial]) -> list[Trial]:
    """Healed trials that no other beats in latency, MACs and loss at once, cheapest first.

    The loss is that after the short training, which all of them had.
    """

    def figures(trial: Trial) -> tuple[float, float, float]:
        short = trial.finetuned or trial.start
        return trial.latency_ms or 0.0, trial.macs, short["psnr_drop"]

    finetuned = [trial for trial in trials if trial.finetuned is not None]
    kept = [
        trial
        for trial in finetuned
        if not any(
            all(a <= b for a, b in zip(figures(other), figures(trial), strict=True))
            and figures(other) != figures(trial)
            for other in finetuned
        )
    ]
    return sorted(kept, key=lambda trial: trial.macs)
