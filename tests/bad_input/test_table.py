"""Hundreds of bad inputs over all commands: one line, exit code 2, and nothing is touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bad_shelf import make_shelf

from edgesr.compress import compress

OLD_REPORT = Path(__file__).parents[1] / "report" / "report_v1.json"


@pytest.fixture(scope="session")
def good(materials, small_recipe, plain_exporter, tmp_path_factory) -> dict[str, Path]:
    """What the rows name: good files, a finished run, and the shelf of bad ones."""
    shelf, run = tmp_path_factory.mktemp("shelf"), tmp_path_factory.mktemp("finished") / "run"
    make_shelf(shelf, materials.cube, materials.lkca_net, OLD_REPORT)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(materials.folder))
        patch.setattr("edgesr_export.tracing.export_onnx", plain_exporter)
        compress(replace(small_recipe, rank=8, epochs=0, baseline_groups=0), run)
    return {
        "shelf": shelf,
        "run": run,
        "cube": materials.cube,
        "weights": materials.lkca_net,
        "bilinear": materials.bilinear,
        "onnx": run / "models" / "cpu-fp32.onnx",
    }
