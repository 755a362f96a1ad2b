from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from edgesr_export.rewrite import rewrite
from edgesr_export.targets import find_target
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


def model_of(text: str, constants: dict[str, np.ndarray] | None = None, opset: int = 20):
    """A model from ONNX's own text form, with constants as initializers."""
    head = f'<ir_version: 10, opset_import: ["" : {opset}]> graph '
    model = onnx.parser.parse_model(head + text)
    for name, array in (constants or {}).items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def run_model(model: onnx.ModelProto, *inputs: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [entry.name for entry in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))[0]


def rules(target: str) -> Sequence[type]:
    """What is rewritten for one target alone."""
    return find_target(target).rules if target else ()


class RewriteCheck:
    """Rewrites a model and runs both forms in ONNX Runtime: the form before is the truth."""

    model = staticmethod(model_of)
    run = staticmethod(run_model)

    def same(self, model, *inputs, target="", atol=1e-5) -> Counter:
        """The rewritten model's operators, once it is known to answer as the given one does."""
        rewritten, done = rewrite(model, rules(target))
        assert done
        onnx.checker.check_model(rewritten, full_check=True)
        expected = run_model(model, *inputs)
        np.testing.assert_allclose(run_model(rewritten, *inputs), expected, atol=atol, rtol=1e-5)
        return Counter(node.op_type for node in rewritten.graph.node)

    def untouched(self, model, target="") -> None:
        rewritten, done = rewrite(model, rules(target))
        assert done == []
        assert [n.op_type for n in rewritten.graph.node] == [n.op_type for n in model.graph.node]


@pytest.fixture(scope="session")
def rewriting() -> RewriteCheck:
    return RewriteCheck()
