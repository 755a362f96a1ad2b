"""The forms of the GPU suite, tried on the CPU; what needs a GPU says so."""

from __future__ import annotations

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from benchmarks import gpu
from benchmarks.zoo import AbsentError, plausible_tiles


class Noting(nn.Module):
    """Keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3)
        self.seen: list[torch.Tensor] = []

    def __deepcopy__(self, memo: object) -> Noting:
        copied = Noting()
        copied.seen = self.seen
        return copied

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        return self.conv(x)


@pytest.mark.parametrize(
    "form", [form for form in gpu.FORMS if form.how == "eager"], ids=lambda form: form.name
)
def test_eager_forms_compute_in_what_they_are_called(form):
    model = Noting()
    gpu.torch_call(model, torch.rand(1, 4, 8, 8), form, "cpu")()
    (seen,) = model.seen
    assert seen.dtype == gpu.DTYPES[form.precision]
    assert seen.is_contiguous(memory_format=torch.channels_last) == form.channels_last
    assert next(model.parameters()).dtype == torch.float32  # the network given is left alone


def test_names_tell_forms_apart():
    assert len({form.name for form in gpu.FORMS}) == len(gpu.FORMS)


def test_cuda_graphs_need_cuda():
    with pytest.raises(AbsentError, match="CUDA"):
        gpu.torch_call(nn.Identity(), torch.rand(1, 4, 8, 8), gpu.Form("graph"), "cpu")


def test_onnx_runtime_runs_bound_to_the_device(tmp_path):
    shape = [1, 4, 8, 8]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    path = tmp_path / "relu.onnx"
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), path)
    tile = plausible_tiles(1, 4, 8)
    gpu.onnx_call(path, tile, "cpu")()
    if not torch.cuda.is_available():
        with pytest.raises(AbsentError, match="onnxruntime"):
            gpu.onnx_call(path, tile, "cuda")
        with pytest.raises(AbsentError, match="TensorRT"):
            gpu.tensorrt_call(path, tile, "fp32")


def test_tiles_are_plausible():
    tiles = plausible_tiles(3, 31, 18, seed=1)
    assert tiles.shape == (3, 31, 18, 18)
    assert 0 <= tiles.min() < 0.4
    assert 0.6 < tiles.max() <= 1
    assert (plausible_tiles(3, 31, 18, seed=1) == tiles).all()
    assert (plausible_tiles(3, 31, 18, seed=2) != tiles).any()
