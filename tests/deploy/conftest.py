"""The small network as ONNX, with its scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgesr.cube import Scene
from edgesr.deploy import Limits, VariantBuilder, calibration_tiles, on_budget
from edgesr.loading.workload import open_workload


@dataclass(frozen=True)
class Subject:
    network: nn.Module
    scene: Scene
    source: Path
    tile: torch.Tensor

    def answer(self) -> np.ndarray:
        """What the network itself makes of the tile."""
        with torch.no_grad():
            answer: np.ndarray = self.network(self.tile).numpy()
        return answer


@pytest.fixture
def subject(workplace, small_recipe, plain_exporter) -> Subject:
    workload = open_workload(small_recipe)
    tile = workload.example(8)
    return Subject(
        workload.model,
        workload.scene,
        plain_exporter(workload.model, tile, Path("source.onnx")),
        tile,
    )


@pytest.fixture
def builder(subject) -> Callable[..., VariantBuilder]:
    def make(psnr: float = 0.05, sam: float = 0.05) -> VariantBuilder:
        return VariantBuilder(
            Path(),
            calibration_tiles(subject.scene),
            on_budget(subject.scene),
            Limits(psnr, sam),
            1,
            subject.tile.numpy(),
        )

    return make
