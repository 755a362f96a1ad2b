"""All experiments by the name that the command line takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edgesr.cube import PROTOCOLS
from edgesr.errors import OptionError
from edgesr.reproduce import dacn, lkca, real
from edgesr.reproduce.experiment import Experiment
from edgesr.reproduce.published import rows
from edgesr.reproduce.trial import Trial

TITLES = {
    **lkca.TITLES,
    **dacn.TITLES,
    real.NAME: "the same experiments in small, on any cubes (default: the embedded one)",
}
REHEARSAL: dict[str, Any] = {"epochs": 1, "steps_per_epoch": 1, "batch": 1}


def check_name(name: str) -> None:
    """OptionError with all names, unless an experiment has this one."""
    if name not in TITLES:
        raise OptionError(f"there is no table {name!r}; choose one of {', '.join(TITLES)}")


def cubes_of(name: str) -> list[str]:
    """Return the cubes that a table of a paper is measured on; none for ``real``."""
    return [] if name == real.NAME else list(dict.fromkeys(row["cube"] for row in rows(name)))


def find(name: str, cubes: Sequence[str], seeds: int) -> list[Experiment]:
    """Return the tables that a name stands for, for the cubes that are given.

    Rows on other cubes keep their published figures and get no trials.
    """
    check_name(name)
    if name == real.NAME:
        return real.experiments(cubes, range(seeds))
    made = (lkca if name.startswith("lkca") else dacn).experiment(name, range(seeds))
    kept = [row if row.cube in cubes else replace(row, trials=()) for row in made.rows]
    return [replace(made, rows=tuple(kept))]


def shortened(tables: Sequence[Experiment], epochs: int) -> list[Experiment]:
    """Return the tables with another number of epochs for every training."""

    def shorter(trial: Trial) -> Trial:
        if not trial.training:
            return trial
        return trial.but(training={"epochs": epochs})

    return _changed(tables, shorter)


def rehearsed(tables: Sequence[Experiment]) -> list[Experiment]:
    """Return the tables with one step for every training, on cubes of any size.

    The networks stay, so parameters and MACs are those of the tables; the protocol becomes
    ``auto`` with all bands, and the patches small.
    """

    def rehearsal(trial: Trial) -> Trial:
        protocol = PROTOCOLS[trial.scene.protocol]
        small = replace(
            trial.scene,
            protocol="auto",
            patch=4 * trial.scene.scale,
            bands="all",
            normalisation=protocol.normalisation,
            degradation=protocol.degradation,
        )
        changed = trial.but(scene=small)
        return changed.but(training=REHEARSAL) if trial.training else changed

    return _changed(tables, rehearsal)


def _changed(tables: Sequence[Experiment], change: Any) -> list[Experiment]:
    def deep(trial: Trial) -> Trial:
        return change(
            trial.but(
                teacher=trial.teacher and deep(trial.teacher),
                source=trial.source and deep(trial.source),
            )
        )

    return [
        replace(
            table,
            rows=tuple(
                replace(row, trials=tuple(deep(trial) for trial in row.trials))
                for row in table.rows
            ),
        )
        for table in tables
    ]
