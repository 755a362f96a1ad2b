from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.results import Results

sys.path.insert(0, str(Path(__file__).parent))

MACHINE = {
    "cpu": "Abacus 9", "device": "cpu", "threads": 2, "torch": "2.9", "onnxruntime": "1.30",
}  # fmt: skip


@pytest.fixture
def saved(tmp_path: Path):
    """Write records as a file of results and read it."""

    def save(*records: dict[str, Any], name: str = "abacus.json", **changes: Any) -> Results:
        content = {
            "datetime": "2031-02-03T04:05:06", "machine_info": MACHINE, "absent": {}, "wall_s": 600,
            "benchmarks": list(records),
        }  # fmt: skip
        path = tmp_path / name
        path.write_text(json.dumps(content | changes))
        return Results.load(path)

    return save
