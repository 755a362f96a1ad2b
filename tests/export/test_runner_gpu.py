"""Runtimes that need a GPU, through the interface of all: do they answer as torch on the CPU?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from edgesr_export.onnx import export_onnx
from edgesr_export.runner import available_runtimes, open_runner

pytestmark = pytest.mark.gpu

TOLERANCE = 1e-4


@pytest.mark.parametrize("name", ["torch-cuda", "onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_it_answers_as_torch_on_the_cpu(tiny, tmp_path, name):
    problem = available_runtimes()[name]
    if problem:
        pytest.skip(f"{name}: {problem}")
    path = export_onnx(tiny, torch.rand(1, 5, 8, 8), tmp_path / "net.onnx")
    run = open_runner(tiny if name.startswith("torch") else path, name)
    assert run.device == "cuda:0"
    truth = open_runner(tiny, "torch")
    for shape in ((1, 5, 16, 16), (2, 5, 9, 7)):
        x = np.random.default_rng(0).random(shape, dtype=np.float32)
        for image in (x, np.zeros_like(x), np.round(x)):
            np.testing.assert_allclose(run(image), truth(image), atol=TOLERANCE)
