"""A disk that is full: told in one line, nothing left behind, and what was there stays."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from edgesr.cube import Cube, read_cube, write_cube
from edgesr.errors import DataError

DATA = np.random.default_rng(0).random((60, 50, 4)).astype(np.float32)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file grows any larger, as if the disk were full."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


@pytest.mark.parametrize("lacking", [1, 700, 9_000, 20_000])
@pytest.mark.parametrize("suffix", [".tif", ".img", ".npz", ".npy"])
def test_what_cannot_be_written_whole_is_refused(tmp_path, suffix, lacking):
    """GDAL closes such files without a word where the end of them is lacking."""
    path, whole = tmp_path / f"a{suffix}", tmp_path / f"whole{suffix}"
    write_cube(Cube(DATA), path)
    write_cube(Cube(DATA + 1), whole)
    files = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with (
        files_of_at_most(whole.stat().st_size - lacking),
        pytest.raises(DataError, match=r"cannot be written \([^()]+.*\); free some space") as told,
    ):
        write_cube(Cube(DATA + 1), path)
    assert "previous exception" not in str(told.value)
    assert "\n" not in str(told.value)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == files
    np.testing.assert_array_equal(read_cube(path).data, DATA)
