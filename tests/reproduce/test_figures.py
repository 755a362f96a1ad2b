"""When a difference is one."""

from __future__ import annotations

import pytest

from edgesr.reproduce.claims import summary
from edgesr.reproduce.figures import Comparison, Figure, compare, quantity


def results(rows: dict[str, list[float]], baseline: str = "", metric: str = "mpsnr") -> dict:
    """A results file of one experiment on one cube."""
    return {
        "experiments": {
            "x": {
                "baseline": baseline,
                "rows": [
                    {
                        "label": label,
                        "cube": "reno",
                        "trials": [f"{label}{seed}" for seed in range(len(values))],
                        "published": {},
                    }
                    for label, values in rows.items()
                ],
            }
        },
        "trials": {
            f"{label}{seed}": {"test": {metric: value}}
            for label, values in rows.items()
            for seed, value in enumerate(values)
        },
    }


def test_mean_and_spread() -> None:
    figure = Figure((3.0, 1.0, 2.0))
    assert (figure.mean, figure.spread) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("better", "worse", "verdict"),
    [
        ([30.3, 30.4, 30.5], [30.0, 30.0, 30.0], "holds"),  # 0.4 apart, spread 0.2
        ([30.1, 30.2, 30.3], [30.0, 30.0, 30.0], "no difference"),  # 0.2 apart, spread 0.2
        ([30.0, 30.0, 30.0], [29.9, 30.0, 29.5], "no difference"),  # the other's spread counts
        ([30.0, 30.0, 30.0], [30.3, 30.4, 30.5], "contrary"),
    ],
)
def test_less_than_the_spread_is_no_difference(better, worse, verdict) -> None:
    content = results({"a": better, "b": worse})
    assert compare(content, "x", "a", "b", "reno", "mpsnr").verdict == verdict


def test_smaller_angles_are_better() -> None:
    content = results({"a": [3.0, 3.0], "b": [4.0, 4.0]}, metric="sam")
    found = compare(content, "x", "a", "b", "reno", "sam")
    assert found.gain == pytest.approx(1.0)
    assert found.verdict == "holds"


def test_a_baseline_is_subtracted_seed_by_seed() -> None:
    """Seeds differ by 1 dB, what surgery costs by a thousandth: that is the spread that counts."""
    content = results(
        {"original": [30.0, 31.0], "cut": [29.5, 30.501], "worse": [29.0, 30.0]}, "original"
    )
    drop = quantity(content, "x", "cut", "reno", "mpsnr")
    assert drop.mean == pytest.approx(-0.4995)
    assert drop.spread == pytest.approx(0.001)
    assert compare(content, "x", "cut", "worse", "reno", "mpsnr").verdict == "holds"


def test_missing_rows_decide_nothing() -> None:
    one = results({"a": [1.0, 1.0]})
    assert compare(one, "x", "a", "b", "reno", "mpsnr") is None
    assert compare(one, "y", "a", "b", "reno", "mpsnr") is None


def test_one_seed_has_no_spread_and_decides_nothing() -> None:
    content = results({"a": [31.0], "b": [30.0]})
    assert compare(content, "x", "a", "b", "reno", "mpsnr") is None


def test_a_row_with_a_seed_missing_is_not_averaged() -> None:
    content = results({"a": [31.0, 31.0], "b": [30.0, 30.0]})
    del content["trials"]["b1"]
    assert quantity(content, "x", "b", "reno", "mpsnr") is None
    assert compare(content, "x", "a", "b", "reno", "mpsnr") is None


def test_one_verdict_over_cubes() -> None:
    won, equal, lost = Comparison(1, 0.5), Comparison(0.1, 0.5), Comparison(-1, 0.5)
    assert summary([won, won]) == "holds"
    assert summary([equal, equal, None]) == "no difference"
    assert summary([won, equal, lost]) == "holds on 1, no difference on 1, contrary on 1"
