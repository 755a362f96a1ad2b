from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from fvcore.nn import FlopCountAnalysis
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgesr.errors import ModelError
from edgesr.evaluation.cost import count
from edgesr.models import create_model

UNCOUNTED = ("aten::layer_norm", "aten::batch_norm")
NETWORKS = [
    ("lkca_net", {"bands": 7, "scale": 2, "blocks": 2, "channels": 16}),
    ("lkca_net", {"bands": 7, "blocks": 1, "channels": 16, "groups": 4, "paper_exact": True}),
    ("vdsr", {"bands": 7, "scale": 3}),
    ("3dfcnn", {"bands": 7, "scale": 2}),
]


def fvcore_macs(model: nn.Module, shape: tuple[int, ...]) -> FlopCountAnalysis:
    analysis = FlopCountAnalysis(model.eval(), torch.zeros(shape))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return analysis.set_op_handle(**dict.fromkeys(UNCOUNTED, lambda inputs, outputs: 0))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "config"), NETWORKS)
def test_agrees_with_fvcore(name: str, config: dict[str, int]) -> None:
    model = create_model(name, **config)
    shape = (2, 7, 9, 6)
    cost, reference = count(model, shape), fvcore_macs(model, shape)
    assert cost.macs == reference.total()
    by_module = reference.by_module()
    for layer in cost.layers:
        if isinstance(model.get_submodule(layer.name), nn.Conv2d | nn.Conv3d):
            assert layer.macs == by_module[layer.name], layer.name


@pytest.mark.filterwarnings("ignore")
def test_adds_attention_to_what_fvcore_counts() -> None:
    model = create_model("dacn", scale=2, bands=40)
    groups, tokens = 2, 6 * 5
    products = groups * sum(2 * tokens**2 * width for width in (32, 64, 128))
    shape = (1, 40, 6, 5)
    assert count(model, shape).macs == fvcore_macs(model, shape).total() + products


def test_torch_attention_layers_count_alike() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.MultiheadAttention(16, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            tokens = x.flatten(2).transpose(1, 2)
            mixed = self.layer(tokens, tokens, tokens, need_weights=False)[0]
            return F.pixel_shuffle(mixed.transpose(1, 2).reshape(x.shape), 2)

    assert count(Attention(), (2, 16, 4, 5)).macs == 2 * (4 * 20 * 16**2 + 2 * 20**2 * 16)


@settings(deadline=None, max_examples=15)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    size=st.integers(4, 9),
)
def test_one_layer_by_formula(kernel: int, stride: int, groups: int, size: int) -> None:
    conv = nn.Conv2d(8, 4, kernel, stride=stride, groups=groups)
    leaving = (size - kernel) // stride + 1
    assert count(conv, (3, 8, size, size)).macs == 3 * leaving**2 * 4 * 8 // groups * kernel**2
    transposed = nn.ConvTranspose2d(8, 4, kernel, stride=stride, groups=groups)
    cost = count(transposed, (3, 8, size, size))
    assert cost.macs == 3 * size**2 * 4 * 8 // groups * kernel**2
    assert cost.params == 8 * 4 // groups * kernel**2 + 4
    linear = nn.Linear(size, 5)
    assert count(linear, (2, 3, 4, size)).macs == 24 * size * 5


def test_only_adaptive_pools_cost_their_input() -> None:
    pool = nn.AdaptiveAvgPool2d(1)
    assert count(pool, (2, 3, 4, 5)).macs == 120

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)) + F.adaptive_avg_pool2d(x, 1).flatten(1)

    assert count(Mean(), (2, 3, 4, 5)).macs == 120


def test_roles_of_lkca_net() -> None:
    cost = count(create_model("lkca_net", bands=128, paper_exact=True))
    upsampler = 9 * 128 * 128 * 16
    assert cost.upsampler_params == upsampler + 2 * 128 * 16
    assert cost.upsampler_macs == 256 * upsampler
    assert {layer.role for layer in cost.layers} == {"backbone", "upsampler"}
    assert [layer.kind for layer in cost.layers if layer.role == "upsampler"] == ["Conv2d"]
    assert sum(layer.params for layer in cost.layers) == cost.params
    assert sum(layer.macs for layer in cost.layers) == cost.macs


def test_roles_of_dacn() -> None:
    cost = count(create_model("dacn", scale=4), (1, 32, 4, 4))
    roles = {layer.name: layer.role for layer in cost.layers}
    assert {name for name, role in roles.items() if role == "upsampler"} == {
        f"upsampler.{block}.{branch}" for block in (0, 1) for branch in ("main", "skip")
    }
    assert roles["features.2.skip"] == "backbone"
    assert roles["head"] == roles["upsampler.1.batch_norm"] == "other"
    assert cost.upsampler_params == 2 * (1_048_832 + 1_048_704)


def test_shared_weights_count_once_but_run_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = self.second = nn.Conv2d(4, 4, 1, bias=False)
            self.tied = nn.Conv2d(4, 4, 1, bias=False)
            self.tied.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            return F.pixel_shuffle(self.tied(self.second(self.first(x))), 2)

    cost = count(Twice(), (1, 4, 5, 5))
    assert (cost.params, cost.macs) == (16, 3 * 16 * 25)


def test_leaves_the_network_as_it_was() -> None:
    model = create_model("dacn", scale=2)
    model.train()
    model.features[0].batch_norm.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    count(model, (2, 32, 4, 4))
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_default_shape_is_the_papers() -> None:
    model = create_model("vdsr", bands=5, scale=2)
    assert count(model).input_shape == (1, 5, 16, 16)
    assert count(model).macs * 4 == count(model, (1, 5, 32, 32)).macs


@pytest.mark.parametrize("shape", [(1, 6, 16, 16), (5, 16)])
def test_a_shape_that_does_not_run(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="does not run on an input of shape") as refusal:
        count(create_model("vdsr", bands=5), shape)
    assert "\n" not in str(refusal.value)


def test_no_shape_and_no_bands() -> None:
    with pytest.raises(ModelError, match="give input_shape"):
        count(nn.Conv2d(3, 3, 1))
