from __future__ import annotations

import json
import logging
import warnings

import pytest

from edgesr.cli.logs import logging_to
from edgesr.errors import EdgesrWarning, OptionError
from edgesr.progress import counted, log, timed_stage, track


@pytest.fixture
def clock(monkeypatch):
    times = iter([10.0, 12.5])
    monkeypatch.setattr("edgesr.progress.time.perf_counter", lambda: next(times))


@pytest.fixture
def shown():
    """The lines are shown, as a command shows them."""
    with logging_to(logging.INFO):
        yield


def test_a_library_says_nothing_unless_it_is_asked(capsys):
    with timed_stage("calibrate"):
        assert list(track([1], "measure")) == [1]
    log("something")
    assert capsys.readouterr() == ("", "")


def test_a_stage_says_that_it_begins_and_how_long_it_took(shown, clock, capsys):
    with timed_stage("calibrate"):
        assert capsys.readouterr().err == "calibrate ...\n"
    written = capsys.readouterr()
    assert written.err == "calibrate: 2.5 s\n"
    assert written.out == ""


def test_a_stage_that_fails_is_not_said_to_be_over(shown, capsys):
    with pytest.raises(ValueError, match="no"), timed_stage("calibrate"):
        raise ValueError("no")
    assert capsys.readouterr().err == "calibrate ...\n"


def test_items_pass_one_by_one(shown, clock, capsys):
    assert list(track([3, 1, 2], "measure")) == [3, 1, 2]
    assert capsys.readouterr().err == "measure (3) ...\nmeasure (3): 2.5 s\n"


def test_a_terminal_gets_a_bar_on_stderr(shown, monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert list(track([3, 1, 2], "measure")) == [3, 1, 2]
    written = capsys.readouterr()
    assert "measure" in written.err
    assert "100%" in written.err
    assert written.out == ""


def test_quiet_keeps_warnings_and_shows_no_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with logging_to(logging.WARNING):
        assert list(track([3, 1, 2], "measure")) == [3, 1, 2]
        log("something")
        warnings.warn("not all of it is kept", EdgesrWarning, stacklevel=1)
    assert capsys.readouterr() == ("", "warning: not all of it is kept\n")


def test_every_message_is_a_line_of_json(clock, tmp_path, capsys):
    path = tmp_path / "log.jsonl"
    path.write_text('{"time": "earlier"}\n')
    with logging_to(logging.WARNING, path):
        with timed_stage("calibrate"):
            pass
        warnings.warn("mind the gap", EdgesrWarning, stacklevel=1)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {"time": "earlier"}  # what was there stays
    assert [(one["level"], one["message"]) for one in lines[1:]] == [
        ("info", "calibrate ..."),
        ("info", "calibrate: 2.5 s"),
        ("warning", "mind the gap"),
    ]
    assert lines[2] | {"event": "end", "stage": "calibrate", "seconds": 2.5} == lines[2]
    assert capsys.readouterr().err == "warning: mind the gap\n"


@pytest.mark.parametrize("how", ["other content", "link", "second name", "folder"])
def test_nothing_but_a_log_is_appended_to(tmp_path, how):
    """The file may be an input of the command."""
    kept, path = tmp_path / "cube.npy", tmp_path / "log.jsonl"
    kept.write_bytes(b"" if how == "second name" else b"pixels")
    if how == "link":
        path.symlink_to(kept)
    elif how == "second name":
        path.hardlink_to(kept)
    elif how == "folder":
        path.mkdir()
    else:
        path = kept
    before = kept.read_bytes()
    with pytest.raises(OptionError, match="name a new file"), logging_to(20, path):
        log("something")
    assert kept.read_bytes() == before


def test_a_log_that_cannot_be_written_is_refused(tmp_path):
    with (
        pytest.raises(OptionError, match=r"--log-json .* cannot be written"),
        logging_to(20, tmp_path / "nowhere" / "log"),
    ):
        pass


def test_steps_are_counted_on_a_terminal_and_elsewhere_two_lines_tell(shown, monkeypatch, capsys):
    with counted(3, "rank") as advance:
        advance()
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "rank ...", "rank",
    ]  # fmt: skip
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with counted(3, "rank") as advance:
        for _ in range(3):
            advance()
    written = capsys.readouterr()
    assert "rank" in written.err
    assert "100%" in written.err
