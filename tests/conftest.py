"""Fixtures that every room shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # small tensors; more threads only wait for each other

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real cubes that may not be redistributed; tests that need it skip without it."""
    folder = Path(os.environ.get("EDGESR_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real cubes not found at {folder} (set EDGESR_DATA to their folder)")
    return folder
