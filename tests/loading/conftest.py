"""Lets the tests of this folder, and the command line, import the third-party networks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a cube of their bands, in which the commands run."""
    from third_party import BANDS

    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0:72, 0:72]
    waves = np.stack([1 + np.sin(rows / (3 + k)) * np.cos(columns / (4 + k)) for k in range(3)], -1)
    spectra = 1 + np.abs(random.normal(size=(3, BANDS))).cumsum(1) / BANDS
    np.save("cube.npy", 500 * waves @ spectra + random.normal(scale=3, size=(72, 72, BANDS)))
    return tmp_path
