"""A small super-resolution network with every kind of layer, and what is needed to quantise it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from edgesr_export.onnx import export_onnx
from onnx import numpy_helper
from torch import nn

BANDS, SCALE, WIDTH = 6, 2, 16


class Network(nn.Module):
    """Dense, depthwise dilated, grouped and pointwise convs, a Relu, a bicubic branch."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(BANDS, WIDTH, 3, padding=1)
        self.far = nn.Conv2d(WIDTH, WIDTH, 3, padding=2, dilation=2, groups=WIDTH)
        self.fuse = nn.Conv2d(WIDTH, WIDTH, 1, groups=4)
        self.upsampler = nn.Conv2d(WIDTH, BANDS * SCALE**2, 3, padding=1, bias=False)
        nn.init.normal_(self.upsampler.weight, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.head(x))
        features = features + F.gelu(self.fuse(self.far(features)))
        enlarged = F.interpolate(x, scale_factor=SCALE, mode="bicubic", align_corners=False)
        return F.pixel_shuffle(self.upsampler(features), SCALE) + enlarged


@pytest.fixture(scope="session")
def nncf():
    if importlib.util.find_spec("nncf") is None:
        pytest.skip("NNCF is not here: install the extra 'int8'")


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("int8") / "network.onnx"
    return export_onnx(Network(), torch.rand(1, BANDS, 8, 8), path)


@pytest.fixture(scope="session")
def tiles() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.random((1, BANDS, 12, 12), dtype=np.float32) for _ in range(4)]


@pytest.fixture(scope="session")
def evaluate(network: Path) -> Callable[..., dict[str, float]]:
    """PSNR and spectral angle between a network and the float one, on an image of its own."""
    image = np.random.default_rng(1).random((1, BANDS, 14, 10), dtype=np.float32)
    truth = run(network, image) + np.float32(0.01)

    def measured(candidate: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        found = candidate(image)
        error = float(np.mean((found - truth) ** 2))
        cosine = (found * truth).sum(1) / (
            np.linalg.norm(found, axis=1) * np.linalg.norm(truth, axis=1)
        )
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        return {"mpsnr": -10 * np.log10(error), "sam": float(angle.mean())}

    return measured


def run(path: Path, image: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    return session.run(None, {session.get_inputs()[0].name: image})[0]


@pytest.fixture
def run_file() -> Callable[[Path, np.ndarray], np.ndarray]:
    return run


@pytest.fixture
def parse() -> Callable[..., onnx.ModelProto]:
    """A model from the text of its nodes; nodes are named after their first output."""

    def parsed(
        body: str,
        initializers: dict[str, np.ndarray] | None = None,
        *,
        inputs: str = "float[batch, 4, height, width] x",
        outputs: str = "float[batch, c, h, w] y",
        opset: int = 20,
    ) -> onnx.ModelProto:
        text = f'<ir_version: 10, opset_import: ["" : {opset}]> n ({inputs}) => ({outputs})'
        model = onnx.parser.parse_model(f"{text} {{ {body} }}")
        for name, array in (initializers or {}).items():
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        for node in model.graph.node:
            node.name = node.output[0]
        return model

    return parsed
