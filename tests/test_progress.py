from __future__ import annotations

import pytest

from edgesr.progress import timed_stage, track


@pytest.fixture
def clock(monkeypatch):
    times = iter([10.0, 12.5])
    monkeypatch.setattr("edgesr.progress.time.perf_counter", lambda: next(times))


def test_a_stage_says_that_it_begins_and_how_long_it_took(clock, capsys):
    with timed_stage("calibrate"):
        assert capsys.readouterr().err == "calibrate ...\n"
    written = capsys.readouterr()
    assert written.err == "calibrate: 2.5 s\n"
    assert written.out == ""


def test_a_stage_that_fails_is_not_said_to_be_over(capsys):
    with pytest.raises(ValueError, match="no"), timed_stage("calibrate"):
        raise ValueError("no")
    assert capsys.readouterr().err == "calibrate ...\n"


def test_items_pass_one_by_one(clock, capsys):
    assert list(track([3, 1, 2], "measure")) == [3, 1, 2]
    assert capsys.readouterr().err == "measure (3) ...\nmeasure (3): 2.5 s\n"


def test_a_terminal_gets_a_bar_on_stderr(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert list(track([3, 1, 2], "measure")) == [3, 1, 2]
    written = capsys.readouterr()
    assert "measure" in written.err
    assert "100%" in written.err
    assert written.out == ""
