"""Damaged files of every kind that is read: refused, or read, and nothing else."""

from __future__ import annotations

from fuzz_run import fuzz, prepared

COUNT = 2_000
"""As many more as one has time for: ``python -m tests.fuzz --count 50000 --seed 1``."""


def test_files_that_are_not_damaged_are_read(tmp_path) -> None:
    with prepared(tmp_path) as targets:
        for target in targets:
            target.use(target.write(tmp_path))


def test_damaged_files_are_refused_or_read() -> None:
    outcome = fuzz(COUNT)
    assert outcome.faults == []
    assert outcome.inputs == COUNT
    assert outcome.read.total() > COUNT / 20  # some damage is harmless
    assert all(outcome.refused[name] for name in outcome.refused | outcome.read), outcome.refused
