"""Networks to measure, exported once a session; nothing here is read by the library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from edgesr.models import create_model
from edgesr.surgery import lowrank, require_sites
from export.onnx import export_onnx

BANDS, SCALE = 128, 4
NETWORKS = ("dense", "g=8", "R=32")


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Path]:
    """Path of an LKCA-Net (random weights, 16 blocks), as torch exports it or rewritten."""
    folder = tmp_path_factory.mktemp("onnx")

    def file(name: str, rewritten: bool) -> Path:
        path = folder / f"{name}-{rewritten}.onnx"
        if not path.exists():
            torch.manual_seed(0)
            groups = 8 if name == "g=8" else 1
            model = create_model("lkca_net", bands=BANDS, scale=SCALE, groups=groups).eval()
            example = torch.rand(1, BANDS, 16, 16)
            if name == "R=32":
                model, _ = lowrank(model, require_sites(model, example)[0], 32)
            export_onnx(model, example, path, rewrite=rewritten)
        return path

    return file
