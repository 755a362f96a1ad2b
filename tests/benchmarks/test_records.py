"""The fixtures within pytest-benchmark itself: what is saved, and that it can be compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SUITE = """
import itertools, pytest
from benchmarks.interleave import times_in_turn
ORDER = []

def gather():
    return {name: (lambda name=name: ORDER.append(name)) for name in "abc"}, {"d": "no such thing"}

@pytest.mark.parametrize("name", "abcd")
def test_one(in_turn, name):
    in_turn("some group", name, gather, seconds=0, colour="blue")
    assert "".join(ORDER) == "abc" * (len(ORDER) // 3)

def test_two(timed_once):
    timed_once("another", 1.5, step="slow")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    (folder / "test_suite.py").write_text(SUITE)

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "pytest", "-p", "benchmarks.conftest", "-q", "-rs"]
        words += ["-p", "no:cacheprovider", "--rootdir", folder, "-c", "/dev/null", folder]
        return subprocess.run(
            [*map(str, words), *options],
            capture_output=True, text=True, cwd=REPOSITORY, timeout=300,
            env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")},
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def saved(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "results.json"
    done = run(f"--benchmark-json={path}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no such thing" in done.stdout
    return path


def test_every_member_has_a_record_with_its_facts(saved):
    content = json.loads(saved.read_text())
    records = {record["name"]: record for record in content["benchmarks"]}
    assert list(records) == ["test_one[a]", "test_one[b]", "test_one[c]", "test_two"]
    for name in "abc":
        record = records[f"test_one[{name}]"]
        assert record["group"] == "some group"
        assert record["extra_info"] == {"colour": "blue"}
        assert record["stats"]["rounds"] == 5
        assert 0 < record["stats"]["median"] < 1
        assert "data" not in record["stats"]
    assert records["test_two"]["stats"]["median"] == 1.5


def test_what_was_absent_is_saved_with_its_reason(saved):
    assert json.loads(saved.read_text())["absent"] == {"some group": {"d": "no such thing"}}


def test_machine_and_threads_are_saved_and_no_name_of_a_host(saved):
    machine = json.loads(saved.read_text())["machine_info"]
    assert machine["threads"] >= 1
    assert {"cpu", "device", "torch", "onnxruntime"} <= machine.keys()
    assert "node" not in machine


def test_results_can_be_compared(run, saved):
    done = run(f"--benchmark-compare={saved}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Comparing against benchmarks from" in done.stdout + done.stderr
    assert "test_one[a] (NOW)" in done.stdout
    assert done.stdout.count("test_one[a]") == 2
