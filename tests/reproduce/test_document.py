"""The committed results, and the document whose tables are theirs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edgesr.errors import DataError
from edgesr.reproduce import real
from edgesr.reproduce.document import filled, main
from edgesr.reproduce.real_table import all_grids
from edgesr.reproduce.store import load

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = DOCS / "results" / "reruns.json"


@pytest.fixture(scope="module")
def content() -> dict:
    return load(RESULTS)


def test_every_figure_of_the_document_is_of_the_results(content) -> None:
    text = (DOCS / "reruns.md").read_text()
    assert filled(text, content) == text
    marked = set(re.findall(r"<!-- table: (.+?) -->", text))
    assert marked == set(all_grids(content))


def test_every_network_has_three_seeds(content) -> None:
    cubes = list(content["cubes"])
    assert len(cubes) >= 3
    for table in real.experiments(cubes, range(3)):
        rows = content["experiments"][table.name]["rows"]
        assert len(rows) == len(table.rows)
        for row, expected in zip(rows, table.rows, strict=True):
            assert row["trials"] == [trial.key for trial in expected.trials], row["label"]
            assert len(row["trials"]) == (1 if row["label"] == "bicubic" else 3)
            assert all(key in content["trials"] for key in row["trials"])


def test_results_hold_figures_and_no_pixels(content) -> None:
    def longest(value: object) -> int:
        if isinstance(value, dict):
            return max(map(longest, value.values()), default=0)
        if isinstance(value, list):
            return max([len(value), *map(longest, value)])
        return 0

    for result in content["trials"].values():
        assert longest(result) == 0
    assert longest(content["cubes"]) == 3  # the shape
    assert RESULTS.stat().st_size < 500_000


def test_low_rank_has_as_many_parameters_as_groups(content) -> None:
    rows = {
        row["label"]: content["trials"][row["trials"][0]]["upsampler_params"]
        for row in content["experiments"]["surgery"]["rows"]
    }
    for groups in real.GROUPS:
        grouped = rows[f"{real.setting_name('grouped', groups)}, closed form"]
        lowrank = rows[f"{real.setting_name('lowrank', groups)}, closed form"]
        assert 0.95 * grouped < lowrank <= grouped


def test_tables_are_rendered_in_place(content, tmp_path) -> None:
    document, results = tmp_path / "text.md", tmp_path / "results.json"
    document.write_text("before\n<!-- table: blocks -->\nold\n<!-- end -->\nafter\n")
    results.write_text(json.dumps(content))
    assert main([str(document), str(results)]) == 0
    text = document.read_text()
    assert "old" not in text
    assert text.startswith("before\n<!-- table: blocks -->\n| ")
    assert text.endswith("|\n<!-- end -->\nafter\n")
    with pytest.raises(DataError, match="no table 'other'"):
        filled("<!-- table: other -->\n<!-- end -->\n", content)
