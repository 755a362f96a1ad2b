"""Figures over seeds, and when two of them differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DIRECTION = {"mpsnr": 1, "mssim": 1, "cc": 1, "sam": -1, "rmse": -1, "ergas": -1}
"""1 where larger is better."""

Content = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """A metric of one row on one cube: a value for each seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)

    @property
    def spread(self) -> float:
        """Largest minus smallest value over the seeds."""
        return max(self.values) - min(self.values)


@dataclass(frozen=True)
class Comparison:
    """How much better one row is than another on one cube, by one metric.

    ``gain`` is positive where the first row is better. It counts as a difference only above
    ``spread``, the larger of the two rows' spreads over the seeds.
    """

    gain: float
    spread: float

    @property
    def verdict(self) -> str:
        """``holds``, ``no difference`` or ``contrary``."""
        if abs(self.gain) <= self.spread:
            return "no difference"
        return "holds" if self.gain > 0 else "contrary"


def find_row(content: Content, experiment: str, label: str, cube: str) -> Content | None:
    """Return a row of the results file, None where there is none."""
    rows = content["experiments"].get(experiment, {"rows": []})["rows"]
    found = (row for row in rows if row["label"] == label and row["cube"] == cube)
    return next(found, None)


def figure(content: Content, row: Content, metric: str) -> Figure | None:
    """Return a metric of a row on the test region; None unless all of its trials are done."""
    found = results(content, row)
    if not found or len(found) < len(row["trials"]):
        return None
    return Figure(tuple(result["test"][metric] for result in found))


def results(content: Content, row: Content | None) -> list[Content]:
    """Return the results of a row's trials that are done, seed by seed."""
    keys = row["trials"] if row is not None else ()
    return [content["trials"][key] for key in keys if key in content["trials"]]


def change(content: Content, row: Content, base: Content, metric: str) -> Figure | None:
    """Return a metric of a row minus that of ``base``, seed by seed."""
    one, other = figure(content, row, metric), figure(content, base, metric)
    if one is None or other is None:
        return None
    return Figure(tuple(a - b for a, b in zip(one.values, other.values, strict=True)))


def quantity(
    content: Content, experiment: str, label: str, cube: str, metric: str
) -> Figure | None:
    """Return what a table compares: the metric, or its change against the table's baseline."""
    row = find_row(content, experiment, label, cube)
    if row is None:
        return None
    baseline = content["experiments"][experiment]["baseline"]
    if not baseline:
        return figure(content, row, metric)
    base = find_row(content, experiment, baseline, cube)
    return None if base is None else change(content, row, base, metric)


def compare(
    content: Content, experiment: str, better: str, worse: str, cube: str, metric: str
) -> Comparison | None:
    """Compare two rows of a table on a cube.

    None where one of them is missing, or has one seed alone and so no spread.
    """
    first = quantity(content, experiment, better, cube, metric)
    second = quantity(content, experiment, worse, cube, metric)
    if first is None or second is None or min(len(first.values), len(second.values)) < 2:
        return None
    gain = (first.mean - second.mean) * DIRECTION[metric]
    return Comparison(gain, max(first.spread, second.spread))
