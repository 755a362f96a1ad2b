"""Which design to try next: Optuna's tree-structured Parzen estimator over three whole numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from edgesr.compress.search.budget import Budget
from edgesr.compress.search.design import Design
from edgesr.compress.search.trial import Trial, against_the_best

STARTUP = 6
"""Trials, the first designs among them, before the estimator takes over from chance."""
ATTEMPTS = 20
"""Proposals that may repeat an earlier design before the search counts as exhausted."""


def propose(
    trials: Sequence[Trial], lengths: Mapping[str, int], budget: Budget, seed: int
) -> Design | None:
    """A design that was not tried yet, from all that was; None where there seems to be none.

    A proposal depends on nothing but these arguments, so that a search which is resumed goes on
    as if it had not been interrupted.

    Args:
        trials: what was tried.
        lengths: number of choices for each field of a :class:`Design`.
        budget: the limits, which Optuna treats as constraints.
        seed: of the search.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tried = {trial.design for trial in trials}
    trials = against_the_best(trials, budget.confidence)
    spaces: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.IntDistribution(0, length - 1)
        for name, length in lengths.items()
    }
    for attempt in range(ATTEMPTS):
        sampler = optuna.samplers.TPESampler(
            seed=(seed * 10_007 + len(trials) * ATTEMPTS + attempt) % 2**32,
            multivariate=True,
            n_startup_trials=STARTUP,
        )
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        for trial in trials:
            study.add_trial(
                optuna.trial.create_trial(
                    params=asdict(trial.design),
                    distributions=spaces,
                    values=[budget.objective(trial), trial.drop["psnr_drop"]],
                    constraints={
                        "cost": budget.cost(trial.costs()) - 1,
                        "quality": budget.excess(trial),
                    },
                )
            )
        design = Design(**study.ask(dict(spaces)).params)
        if design not in tried:
            return design
    return None
