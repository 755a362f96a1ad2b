"""Convolutions in an author's own writing become layers, and nothing else changes."""

from __future__ import annotations

import json

import pytest
import third_party
import torch
import torch.nn.functional as F
from edgesr_export.onnx import export_onnx
from edgesr_export.runtime import session
from torch import nn

from edgesr.loading.functional_convs import make_plain
from edgesr.surgery import find_sites, lowrank
from edgesr.surgery.structure import apply_changes, changes_of, clone

BANDS = 6
IMAGE = torch.rand(2, BANDS, 12, 14, generator=torch.Generator().manual_seed(3))


class EqualisedConv(nn.Module):
    """The learning rate is equal for all layers since weights are scaled when they are used."""

    def __init__(self, inputs, outputs, kernel=3):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.randn(outputs))
        self.gain = (inputs * kernel**2) ** -0.5

    def forward(self, x):
        return F.conv2d(x, self.weight * self.gain, bias=self.bias, padding="same")


class Equalised(nn.Module):
    """x2, each layer in the author's own class; the last stage twice, a transposed one between."""

    def __init__(self):
        super().__init__()
        self.head = EqualisedConv(BANDS, 8)
        self.body = EqualisedConv(8, 8)
        self.up = EqualisedConv(8, 4 * BANDS)

    def forward(self, x):
        x = self.body(F.relu(self.body(F.relu(self.head(x)))))
        return F.pixel_shuffle(self.up(x), 2)


class Kernels(nn.Module):
    """Parameters in lists, parameters of a layer that is never called, three axes, strides."""

    def __init__(self):
        super().__init__()
        self.kernels = nn.ParameterList(
            [torch.randn(8, BANDS, 3, 3) / 5, torch.randn(8, 8, 3, 3) / 5]
        )
        self.store = nn.Conv2d(8, 8, 3, dilation=2, padding=2)
        self.depth = nn.Parameter(torch.randn(4, 1, 3, 3, 3) / 5)
        self.enlarge = nn.Parameter(torch.randn(32, BANDS, 4, 4) / 5)
        self.shift = nn.Parameter(torch.randn(BANDS))

    def forward(self, x):
        x = F.conv2d(x, self.kernels[0], padding=self.kernels[0].shape[-1] // 2)
        x = torch.relu(F.conv2d(input=x, weight=self.kernels[1], padding=1))
        x = F.conv2d(x, self.store.weight, self.store.bias, dilation=2, padding=2)
        n, c, h, w = x.shape
        x = F.conv3d(x.unsqueeze(1), self.depth, None, 1, 1)
        x = x.reshape(n, 4 * c, h, w)
        return F.conv_transpose2d(x, self.enlarge, self.shift, 2, 1)


def seeded(factory):
    torch.manual_seed(0)
    return factory().eval()


FACTORIES = {
    "equalised": (Equalised, ["head", "body", "up"]),
    "kernels": (
        Kernels,
        ["kernels.0_conv", "kernels.1_conv", "store.weight_conv", "depth_conv", "enlarge_conv"],
    ),
    "functional": (third_party.functional, ["w1_conv", "w2_conv"]),
    "custom_conv": (third_party.custom_conv, ["head", "up"]),
}


@pytest.mark.parametrize("kind", FACTORIES)
@torch.no_grad()
def test_the_network_stays_the_same_and_shows_its_site(kind):
    factory, layers = FACTORIES[kind]
    model = seeded(factory)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert find_sites(model, IMAGE) == []
    plain, changes = make_plain(model, IMAGE[:1])
    assert [change["site"] for change in changes] == layers
    torch.testing.assert_close(plain(IMAGE), model(IMAGE), atol=1e-5, rtol=1e-5)
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in model.parameters())
    [site] = find_sites(plain, IMAGE)
    student, change = lowrank(plain, site, site.max_rank)
    torch.testing.assert_close(student(IMAGE), model(IMAGE), atol=1e-4, rtol=1e-4)
    # a fresh network, what was recorded, and the state dict are the whole student
    recorded = json.loads(json.dumps([*changes, change]))
    rebuilt = apply_changes(factory(), recorded).eval()
    rebuilt.load_state_dict(student.state_dict(), strict=True)
    assert torch.equal(rebuilt(IMAGE), student(IMAGE))
    assert changes_of(rebuilt) == recorded
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", sorted(third_party.THIRD_PARTY))
def test_networks_of_layers_alone_are_left_alone(name):
    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = third_party.THIRD_PARTY[name]()

        def forward(self, x):
            return third_party.as_author(name, self.network, x)

    model = seeded(Called)
    plain, changes = make_plain(model, IMAGE[:1])
    assert (plain is model) == (not changes) == (name not in ("functional", "custom_conv"))


@pytest.mark.parametrize("kind", ["kernels", "functional"])
def test_hoisted_layers_train_and_copy(kind):
    """Copies share nothing; gradients of hoisted layers are those of the author's parameters."""
    model = seeded(FACTORIES[kind][0])
    plain, changes = make_plain(model, IMAGE[:1])
    copy = clone(plain)
    for network in (model, copy):
        network.train()(IMAGE).square().mean().backward()
    assert all(parameter.grad is None for parameter in plain.parameters())
    for change in changes:
        holder = model.get_submodule(change["layers"][-1])
        layer = copy.get_submodule(change["site"])
        expected = holder.get_parameter(change["weight"]).grad
        torch.testing.assert_close(layer.weight.grad, expected, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.zero_()
    assert not copy(IMAGE).any()
    assert plain(IMAGE).any()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@torch.no_grad()
def test_hoisted_layers_export(tmp_path):
    model = seeded(third_party.functional)
    plain, _ = make_plain(model, IMAGE[:1])
    path = export_onnx(plain, IMAGE, tmp_path / "plain.onnx")
    odd = IMAGE[:1, :, :9]
    output = torch.from_numpy(session(path)(odd.numpy()))
    torch.testing.assert_close(output, model(odd), atol=1e-4, rtol=0)
    weights = sum(p.numel() for p in model.parameters()) * 4
    assert path.stat().st_size < 1.3 * weights + 10_000  # placeholders take no room


def test_placeholders_take_no_memory_and_move_with_the_network():
    plain, _ = make_plain(seeded(third_party.functional), IMAGE[:1])
    assert plain.w2.shape == (16 * BANDS, 12, 3, 3)
    assert plain.w2.untyped_storage().nbytes() == 4
    assert plain.double()(IMAGE.double()).dtype == torch.float64


class Dynamic(nn.Module):
    """The image decides on the kernels, through its mean."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4 * BANDS, BANDS, 3, 3))
        self.gate = nn.Linear(BANDS, 1)

    def forward(self, x):
        return F.conv2d(x, self.weight * self.gate(x.mean((0, 2, 3))), padding=1)


class Twice(nn.Module):
    """One parameter in two different convolutions, another one also as a number."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(BANDS, BANDS, 3, 3))
        self.demodulated = nn.Parameter(torch.randn(BANDS, BANDS, 3, 3))

    def forward(self, x):
        x = F.conv2d(x, self.w, padding=1) + F.conv2d(x, self.w, padding=2, dilation=2)
        return F.conv2d(x, self.demodulated, padding=1) / self.demodulated.norm()


class Blur(nn.Module):
    """A fixed filter."""

    def __init__(self):
        super().__init__()
        self.register_buffer("kernel", torch.ones(BANDS, 1, 3, 3) / 9)

    def forward(self, x):
        return F.conv2d(x, self.kernel, padding=1, groups=BANDS)


class Noisy(nn.Module):
    """No two outputs are the same, so nothing can be proved."""

    def __init__(self):
        super().__init__()
        self.layer = EqualisedConv(BANDS, BANDS)

    def forward(self, x):
        return self.layer(x) + torch.rand_like(x)


class Pointwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(BANDS, BANDS, 1, 1))

    def forward(self, x):
        return F.conv2d(x, self.w)


class Tied(nn.Module):
    """A functional with the weight of a layer that is called as well."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(BANDS, BANDS, 3, padding=1)

    def forward(self, x):
        return F.conv2d(self.layer(x), self.layer.weight, padding=1)


@pytest.mark.parametrize("factory", [Dynamic, Twice, Blur, Noisy, Pointwise, Tied])
def test_what_cannot_become_a_layer_is_left_alone(factory):
    model = seeded(factory)
    plain, changes = make_plain(model, IMAGE[:1])
    assert (plain, changes) == (model, [])


@torch.no_grad()
def test_one_change_that_does_not_hold_spoils_no_other():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.good, self.bad = EqualisedConv(BANDS, BANDS), Twice()

        def forward(self, x):
            return self.bad(self.good(x))

    model = seeded(Mixed)
    plain, changes = make_plain(model, IMAGE[:1])
    assert [change["site"] for change in changes] == ["good"]
    torch.testing.assert_close(plain(IMAGE), model(IMAGE), atol=1e-3, rtol=1e-5)


@torch.no_grad()
def test_frozen_parameters_stay_frozen():
    model = seeded(third_party.functional)
    model.w1.requires_grad_(False)
    plain, _ = make_plain(model, IMAGE[:1])
    assert {name for name, p in plain.named_parameters() if not p.requires_grad} == {
        "w1_conv.weight"
    }
