"""``edgesr report``, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgesr.cli.main import main
from edgesr.report.pictures import TRUTH, Pictures
from edgesr.run_folder import PAGE, PICTURES, REPORT


@pytest.fixture
def run(report, workplace) -> Path:
    """A folder with what a finished run leaves for the page."""
    folder = workplace / "run"
    folder.mkdir()
    (folder / REPORT).write_text(json.dumps(report))
    truth = np.linspace(0, 1, 2 * 4 * 4, dtype="float32").reshape(2, 4, 4)
    Pictures.of_window({TRUTH: truth, "student": truth}).save(folder / PICTURES)
    return folder


def test_the_page_lies_in_the_folder_unless_told_otherwise(run, capsys):
    assert main(["report", "run"]) == 0
    assert capsys.readouterr().out.startswith(f"run/{PAGE}: open it in a browser")
    page = (run / PAGE).read_text("utf-8")
    assert 'id="pictures"' in page
    assert main(["report", "run", "--output", "elsewhere/page.html"]) == 0
    assert (run.parent / "elsewhere" / "page.html").read_text("utf-8") == page


def test_a_run_from_before_the_report_was_typed(run, old_report):
    (run / REPORT).write_text(json.dumps(old_report))
    assert main(["report", "run"]) == 0
    assert "What the search tried" in (run / PAGE).read_text("utf-8")


def test_results_of_boards_are_imported(run, read_result):
    a, b = (str(run.parent.parent / read_result(name).name) for name in ("a.json", "b.json"))
    assert main(["report", "run", "--import", a, b]) == 0
    both = (run / PAGE).read_text("utf-8")
    assert main(["report", "run", "--import", a, "--import", b]) == 0
    assert (run / PAGE).read_text("utf-8") == both
    assert "(a.json)" in both
    assert "(b.json)" in both


def test_a_run_without_pictures_has_a_page_without_them(run):
    (run / PICTURES).unlink()
    assert main(["report", "run"]) == 0
    assert 'id="pictures"' not in (run / PAGE).read_text("utf-8")


def test_what_cannot_be_used_is_refused_and_nothing_written(run, refused, workplace):
    assert "no finished run" in refused("report", "nowhere")
    assert ".html" in refused("report", "run", "--output", "page.pdf")
    assert "cannot be written" in refused("report", "run", "--output", "run/report.json/page.html")
    (workplace / "bad.json").write_text("{}")
    assert "bad.json" in refused("report", "run", "--import", "bad.json")
    (run / PICTURES).write_text("no pictures")
    assert PICTURES in refused("report", "run")
    (run / REPORT).write_text("{")
    assert "cannot read the report" in refused("report", "run")
    (run / REPORT).write_text("{}")
    assert "schema" in refused("report", "run")
