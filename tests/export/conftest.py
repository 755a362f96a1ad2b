from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser
import pytest
import torch
import torch.nn.functional as F
from torch import nn


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


class TinyNetwork(nn.Module):
    """Every construct of a super-resolution network that an export has stumbled over."""

    def __init__(self, bands: int = 5, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(bands, 8, 3, padding=1)
        self.norm = nn.LayerNorm(8)
        self.dropout = nn.Dropout(0.5)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
        self.upsampler = nn.utils.parametrizations.weight_norm(
            nn.Conv2d(8, bands * scale**2, 3, padding=1)
        )
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.norm(self.head(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        features = self.dropout(F.gelu(features) * self.gate(features))
        enlarged = F.interpolate(x, scale_factor=self.scale, mode="bicubic", align_corners=False)
        return self.shuffle(self.upsampler(features)) + enlarged


def one_operator(operator: str, path: Path) -> Path:
    """Write y = operator(x) for x [batch, 3, height, width], without the exporter."""
    text = f"""<ir_version: 10, opset_import: ["" : 20]>
        one (float[batch, 3, height, width] x) => (float[batch, 3, height, width] y)
        {{ y = {operator} }}"""
    onnx.save(onnx.parser.parse_model(text), path)
    return path


@pytest.fixture
def write_operator():
    return one_operator


@pytest.fixture(scope="module")
def tiny() -> TinyNetwork:
    torch.manual_seed(0)
    return TinyNetwork()
