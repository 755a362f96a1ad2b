"""What a scene takes in memory does not grow with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, sys
from pathlib import Path
import numpy as np
from edgesr.scenes.output import BlockStore, SceneMeta, finish

target, rows, cols = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
meta = SceneMeta(rows * 256, cols * 256, 20, "int16", nodata=-1)
block = np.random.default_rng(0).integers(0, 1000, (256, 256, 20)).astype("int16")
with BlockStore.open(target, meta, key={}) as store:
    for row in range(rows):
        for col in range(cols):
            store.write(row, col, block)
    finish(store)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".tif", ".img", ".zarr"])
@pytest.mark.parametrize("wide", [False, True])
def test_memory_does_not_grow_with_the_scene(tmp_path, suffix, wide):
    """240 MB of pixels more, in rows or in columns, take at most three blocks of 2.6 MB more."""
    if suffix == ".zarr":
        pytest.importorskip("zarr", reason="the extra zarr is not installed")

    def peak(rows: int, cols: int) -> int:
        """Kilobytes."""
        target = tmp_path / f"{rows}-{cols}{suffix}"
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(target), str(rows), str(cols)],
            capture_output=True, text=True, check=True, cwd=Path(__file__).resolve().parents[3],
        )  # fmt: skip
        return int(done.stdout)

    few, many = (4, 4), (4, 28) if wide else (28, 4)
    assert peak(*many) - peak(*few) < 8_000
