"""The honesty figure: what is taken, what counts as held, and that the page shows the runs."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.honesty import table, verdict
from benchmarks.results import FOLDER


def found(macs: int, drop: dict[str, float], test: float) -> dict[str, Any]:
    return {"macs": macs, "drop": drop, "test_drop": test}


def test_the_smallest_within_the_budget_is_taken_and_judged_on_the_test_region():
    small = found(10, {"psnr_drop": 0.01, "psnr_high": 0.2}, 0.0)  # nobody can be sure of it
    middle = found(20, {"psnr_drop": 0.04, "psnr_high": 0.05}, 0.06)
    large = found(30, {"psnr_drop": 0.03}, 0.05)
    assert verdict([large, middle, small], 0.05) == {**middle, "holds": False}
    assert verdict([large, small], 0.05) == {**large, "holds": True}
    assert verdict([small], 0.05) is None


def test_the_page_shows_the_committed_runs():
    saved = json.loads((FOLDER / "honesty.json").read_text("utf-8"))
    assert table(saved["runs"]).splitlines() == saved["table"]
    assert table(saved["runs"]) in (FOLDER.parent / "README.md").read_text("utf-8")
    assert len({(run["cube"], run["seed"]) for run in saved["runs"]}) == 30
