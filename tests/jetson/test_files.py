from __future__ import annotations

import os

import pytest
from edgesr_jetson.board.errors import BoardError, absent, is_absent, one_line
from edgesr_jetson.board.files import read_number, read_text, write_atomic, write_json


def test_a_full_disk_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_atomic(path, b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BoardError, match=r"result.json cannot be written \(No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_a_figure_that_is_not_finite_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"latency": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_reading_what_may_not_be_there(tmp_path):
    path = tmp_path / "value"
    assert read_text(path) is None
    path.write_bytes(b"Jetson\0\n")
    assert read_text(path) == "Jetson"
    assert read_number(path) is None
    path.write_text("-12\n")
    assert read_number(path) == -12
    assert read_number(tmp_path) is None


def test_absent_is_told_from_a_value():
    assert is_absent(absent("no sensor"))
    assert not is_absent({"absent": 1, "more": 2})
    assert not is_absent(0)


def test_one_line():
    assert one_line("\n  first \nsecond") == "first"
    assert one_line(ValueError()) == "ValueError"
    long = one_line("library: " + "x" * 5000 + " the reason")
    assert long.startswith("library: ")
    assert long.endswith(" the reason")
    assert len(long) < 320
