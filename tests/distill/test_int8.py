from __future__ import annotations

import itertools
import math

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from distill_fakes import SmallNet
from edgesr_export.int8 import Quality, quantize
from edgesr_export.onnx import export_onnx
from onnx import numpy_helper
from torch import Tensor, nn

from edgesr.distill.int8 import int8_layers, layers_within, simulated_int8
from edgesr.errors import ModelError
from edgesr.models import create_model


class Gated(nn.Module):
    """Every reason to quantise a layer or not, in one network."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Conv2d(3, 16, 3, padding=1)
            self.squeeze = nn.Conv2d(16, 4, 1)
            self.excite = nn.Conv2d(4, 16, 1)
            self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
            self.narrow = nn.Conv2d(16, 16, 1, groups=8)
            self.tokens = nn.Linear(16, 16)
            self.unused = nn.Conv2d(16, 16, 1)
            self.upsampler = nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        hidden = torch.relu(self.head(lr))
        pooled = hidden.mean((2, 3), keepdim=True)
        hidden = hidden * torch.sigmoid(self.excite(torch.relu(self.squeeze(pooled))))
        hidden = self.narrow(self.depthwise(hidden))
        hidden = self.tokens(hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.upsampler(hidden)


def tiles(count: int = 3, bands: int = 3) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    return [torch.rand(1, bands, 8, 8, generator=random) * (i + 1) for i in range(count)]


def forward(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def int8_and_back(values: np.ndarray, scale: np.ndarray | float, least: int) -> np.ndarray:
    return np.clip(np.rint(values / scale), least, 127) * scale


def mean_range_scale(seen: list[np.ndarray]) -> float:
    low, high = np.mean([x.min() for x in seen]), np.mean([x.max() for x in seen])
    return max(abs(low), abs(high)) / 127


@pytest.mark.parametrize("kind", ["conv", "transposed", "linear"])
def test_a_layer_computes_with_what_int8_leaves_of_inputs_and_weights(kind):
    torch.manual_seed(3)
    layer: nn.Module
    if kind == "conv":
        layer, axis = nn.Conv2d(3, 5, 3, padding=1), 0
    elif kind == "transposed":
        layer, axis = nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1), 1
    else:
        layer, axis = nn.Linear(8, 5), 0
    given = tiles()
    weight = layer.weight.detach().double().numpy()
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.broadcast_to(np.abs(weight).max(others, keepdims=True), weight.shape).copy()
    if kind == "transposed":  # a scale for each phase: taps of one parity reach the same pixels
        for rows, cols in itertools.product((slice(0, 4, 2), slice(1, 4, 2)), repeat=2):
            phase = np.abs(weight[:, :, rows, cols])
            largest[:, :, rows, cols] = phase.max((0, 2, 3), keepdims=True)
    rounded = int8_and_back(weight, largest / 127, -127)
    assert 0 < np.abs(rounded - weight).max() < 0.01
    x = given[2].double().numpy()
    read = int8_and_back(x, mean_range_scale([t.double().numpy() for t in given]), -128)
    assert np.abs(read).max() < np.abs(x).max()  # the largest tile is clipped by the mean range
    w, b, r = torch.from_numpy(rounded), layer.bias.detach().double(), torch.from_numpy(read)
    expected = {
        "conv": lambda: F.conv2d(r, w, b, padding=1),
        "transposed": lambda: F.conv_transpose2d(r, w, b, stride=2, padding=1),
        "linear": lambda: F.linear(r, w, b),
    }[kind]()
    with simulated_int8(nn.Sequential(layer), ["0"], given):
        answer = forward(layer, given[2])
    step = 1e-5  # no value lies so near to the middle of two steps that float32 rounds otherwise
    np.testing.assert_allclose(answer.numpy(), expected.numpy(), atol=step)


def test_gradients_pass_the_rounding_and_stop_where_values_were_clipped():
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 1, bias=False)
    model = nn.Sequential(layer)
    tile = torch.linspace(-1, 1, 2 * 6 * 6).reshape(1, 2, 6, 6)
    x = (3 * tile).requires_grad_()
    with simulated_int8(model, ["0"], [tile]):
        out = model(x)
        weighting = torch.rand(out.shape)
        (out * weighting).sum().backward()
        rounded_weight = layer.weight.detach()
    rounded_x = torch.from_numpy(int8_and_back(x.detach().numpy(), 1 / 127, -128)).float()
    inside = (x.detach() * 127 > -128.5) & (x.detach() * 127 < 127.5)
    assert 0 < inside.sum() < inside.numel()
    to_x = torch.einsum("nohw,oi->nihw", weighting, rounded_weight[..., 0, 0]) * inside
    torch.testing.assert_close(x.grad, to_x)
    to_weight = torch.einsum("nohw,nihw->oi", weighting, rounded_x)[..., None, None]
    torch.testing.assert_close(layer.weight.grad, to_weight)


class Normed(nn.Module):
    """Weight norm in both forms of torch, beside a plain layer."""

    def __init__(self) -> None:
        super().__init__()
        self.new = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3, padding=1))
        self.old = nn.utils.weight_norm(nn.Conv2d(4, 4, 3, padding=1))
        self.plain = nn.Conv2d(4, 3, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.plain(self.old(self.new(x)))


@pytest.mark.parametrize("make", [Gated, Normed, SmallNet])
@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_afterwards_the_network_is_the_one_that_came(make, failing):
    model, given = make().eval(), tiles()
    before, state = forward(model, given[0]), model.state_dict()
    parameters, modules = dict(model.named_parameters()), dict(model.named_modules())
    kinds = {name: type(module) for name, module in modules.items()}
    try:
        with simulated_int8(model, int8_layers(model, given[0]), given):
            assert not torch.equal(forward(model, given[0]), before)
            if failing:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert torch.equal(forward(model, given[0]), before)
    after = model.state_dict()
    assert list(after) == list(state)
    assert all(torch.equal(after[name], value) for name, value in state.items())
    assert {k: id(v) for k, v in model.named_parameters()} == {
        k: id(v) for k, v in parameters.items()
    }
    assert list(dict(model.named_parameters())) == list(parameters)
    assert {name: type(module) for name, module in model.named_modules()} == kinds
    own_hooks = 1 if make is Normed else 0
    assert sum(len(module._forward_pre_hooks) for module in model.modules()) == own_hooks
    assert not any(module.training for module in model.modules())


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_normed_weights_are_rounded_too():
    model, given = Normed(), tiles()
    plain = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 3, 3, padding=1, bias=False),
    )
    with torch.no_grad():
        for mine, theirs in zip(plain, (model.new, model.old, model.plain), strict=True):
            mine.weight.copy_(theirs.weight)
            if mine.bias is not None:
                mine.bias.copy_(theirs.bias)
    with (
        simulated_int8(model, layers_within(model, [""]), given),
        simulated_int8(plain, ["0", "1", "2"], given),
    ):
        torch.testing.assert_close(forward(model, given[1]), forward(plain, given[1]))


def test_calibration_follows_the_weights():
    model, given = SmallNet(), tiles()
    with simulated_int8(model, ["upsampler"], given) as simulation:
        before = simulation.roundings[0].input.scale.clone()
        with torch.no_grad():
            model.head.weight.mul_(10)
            model.head.bias.mul_(10)
        simulation.calibrate()
        assert 8 < simulation.roundings[0].input.scale / before < 12


def test_a_layer_that_runs_twice_spans_both_inputs():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) + self.layer(-5 * x)

    given = tiles(2)
    with simulated_int8(Twice(), ["layer"], given) as simulation:
        largest = np.mean([5 * float(tile.max()) for tile in given])
        assert float(simulation.roundings[0].input.scale) == pytest.approx(largest / 127)


def test_layers_are_those_of_the_export_with_its_scales(tmp_path):
    model, given = Gated().eval(), tiles(4)
    path = export_onnx(model, given[0], tmp_path / "float.onnx", dynamic=False)
    result = quantize(
        path,
        tmp_path / "int8.onnx",
        [tile.numpy() for tile in given],
        target="tensorrt",
        quality=Quality(
            lambda network: {"mpsnr": float(network(given[0].numpy()).mean()), "sam": 0.0},
            math.inf,
            math.inf,
        ),
    )
    stored = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer
    }
    inputs = sorted(
        float(values)
        for name, values in stored.items()
        if name.endswith(".scale") and not values.ndim
    )
    layers = int8_layers(model, given[0])
    assert layers == ["head", "depthwise", "tokens", "upsampler"]
    assert len(result.quantised) == len(layers)
    with simulated_int8(model, layers, given) as simulation:
        ours = sorted(float(rounded.input.scale) for rounded in simulation.roundings)
        for name, rounded in zip(result.quantised[1:], simulation.roundings[1:], strict=True):
            own = rounded.weight.scale(rounded.layer.weight)
            theirs = stored[f"{name}.weight.scale"]
            np.testing.assert_allclose(own.detach().numpy(), theirs, rtol=1e-4)
    np.testing.assert_allclose(ours, inputs, rtol=1e-3)


def test_gates_with_the_published_upsampler_stay_float():
    model = create_model("lkca_net", bands=4, scale=2, blocks=1, channels=16, paper_exact=True)
    layers = int8_layers(model, torch.rand(1, 4, 6, 6))
    assert layers == [
        "head",
        "body.0.expand",
        "body.0.attention.near",
        "body.0.attention.far",
        "body.0.attention.fuse",
        "body.0.project",
        "upsampler",
    ]


def test_a_path_stands_for_all_layers_within():
    model = nn.Sequential(SmallNet(), nn.Conv2d(3, 3, 1))
    assert layers_within(model, ["0", "1", "0.head"]) == ["0.head", "0.upsampler", "1"]


def test_a_layer_that_does_not_run_is_refused():
    with (
        pytest.raises(ModelError, match="'unused' does not run"),
        simulated_int8(Gated(), ["head", "unused"], tiles()),
    ):
        pass


def test_values_that_are_not_finite_are_refused():
    model = SmallNet()
    with torch.no_grad():
        model.head.weight[0] = math.nan
    with (
        pytest.raises(ModelError, match="'upsampler' gets values that are not finite"),
        simulated_int8(model, ["upsampler"], tiles()),
    ):
        pass
