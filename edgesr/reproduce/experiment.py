"""Tables to be reproduced: rows of trials, with the published figures where there are any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgesr.reproduce.trial import Trial


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        label: name of the row.
        cube: name of the cube that it is measured on.
        scale: magnification.
        trials: one for each seed; empty for networks that edgesr does not have.
        published: figures of the paper by column, params_M and gmacs besides the metrics; may be
            empty.
    """

    label: str
    cube: str
    scale: int = 4
    trials: tuple[Trial, ...] = ()
    published: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """A table.

    Attributes:
        name: what the results file calls it.
        title: heads it.
        rows: of all cubes.
        notes: where it departs from the paper, or the paper says nothing.
        baseline: label of the row that the others are subtracted from, seed by seed; empty where
            figures stand for themselves.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    baseline: str = ""

    def trials(self) -> list[Trial]:
        """Return the trials of all rows, seed by seed, so that a first seed is whole early."""
        seeds = max((len(row.trials) for row in self.rows), default=0)
        return [
            row.trials[index]
            for index in range(seeds)
            for row in self.rows
            if index < len(row.trials)
        ]
