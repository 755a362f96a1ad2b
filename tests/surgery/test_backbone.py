from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from edgesr.evaluation.cost import count
from edgesr.models import create_model
from edgesr.surgery.backbone import find_layers
from edgesr.surgery.passes.lowrank import lowrank, lowrank_cost
from edgesr.surgery.sites import find_sites


class Mixed(nn.Module):
    """One of every kind of layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(6, 16, 3, padding=1)
        self.old = weight_norm(nn.Conv2d(16, 16, 3, padding=1))
        self.new = parametrizations.weight_norm(nn.Conv2d(16, 16, 3, padding=1))
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=2)
        self.shared = nn.Conv2d(16, 16, 1)
        self.fc = nn.Linear(16, 24)
        self.attention = nn.MultiheadAttention(24, 2, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(24, 2, 32, batch_first=True)
        self.back = nn.Linear(24, 16, bias=False)
        self.stride1 = nn.ConvTranspose2d(16, 16, 3, padding=1)
        self.up = nn.Conv2d(16, 24, 3, padding=1)
        self.unused = nn.Linear(100, 100)

    def forward(self, x):
        x = self.new(self.old(self.head(x)))
        x = self.grouped(self.depthwise(x))
        x = self.shared(torch.relu(self.shared(x)))
        n, _, h, w = x.shape
        tokens = self.fc(x.flatten(2).transpose(1, 2))
        tokens = self.encoder(self.attention(tokens, tokens, tokens)[0])
        x = self.back(tokens).transpose(1, 2).reshape(n, -1, h, w)
        return F.pixel_shuffle(self.up(self.stride1(x)), 2)


FOUND = ["head", "old", "new", "grouped", "shared", "fc", "back"]


@pytest.fixture(scope="module")
def mixed():
    torch.manual_seed(0)
    return Mixed().eval()


def test_large_layers_are_found_in_the_order_of_their_calls(mixed, example):
    layers = find_layers(mixed, example, least_share=0)
    assert [site.name for site in layers] == FOUND
    assert [site.kind for site in layers] == [*["conv"] * 5, "linear", "linear"]
    assert all(site.scale == 1 and site.layers == (site.name,) for site in layers)
    assert not {site.name for site in find_sites(mixed, example)} & set(FOUND)


def test_costs_are_those_of_the_independent_count(mixed, example):
    costs = {layer.name: layer for layer in count(mixed, tuple(example.shape)).layers}
    for site in find_layers(mixed, example, least_share=0):
        assert (site.params, site.macs) == (costs[site.name].params, costs[site.name].macs)


def test_small_layers_are_left_out(mixed, example):
    everything = find_layers(mixed, example, least_share=0)
    least = 0.05 * count(mixed, tuple(example.shape)).macs
    kept = find_layers(mixed, example, least_share=0.05)
    assert kept == [site for site in everything if site.macs >= least]
    assert 0 < len(kept) < len(everything)


def test_channel_attention_of_the_shipped_network_is_left_out():
    model = create_model("lkca_net", bands=6, scale=2, blocks=2, channels=32)
    layers = find_layers(model, torch.rand(1, 6, 16, 16))
    body = [f"body.{i}.{name}" for i in (0, 1) for name in ("expand", "attention.fuse", "project")]
    assert [site.name for site in layers] == ["head", *body]


@pytest.mark.parametrize("name", [name for name in FOUND if name != "shared"])
def test_each_can_be_factored_at_the_predicted_cost(name, mixed, example):
    site = next(s for s in find_layers(mixed, example, least_share=0) if s.name == name)
    student, _ = lowrank(mixed, site, site.max_rank)
    torch.testing.assert_close(student(example), mixed(example), atol=1e-5, rtol=0)
    smaller, _ = lowrank(mixed, site, 3)
    again = next(s for s in find_layers(smaller, example, least_share=0) if s.name == name)
    assert lowrank_cost(site, 3) == (again.params, again.macs)


def test_a_layer_that_runs_twice_is_one_and_costs_both_runs(mixed, example):
    [site] = [s for s in find_layers(mixed, example) if s.name == "shared"]
    assert site.positions == 2 * example.shape[0] * 7 * 9
    assert lowrank_cost(site, 3)[1] == 2 * 2 * 7 * 9 * 3 * 32


def test_a_grouped_convolution_pays_for_the_zeros_that_factors_fill(mixed, example):
    [site] = [s for s in find_layers(mixed, example) if s.name == "grouped"]
    assert site.params == 16 * 8 * 9 + 16
    assert lowrank_cost(site, 10)[0] == 10 * (16 * 9 + 16) + 16 > site.params


def test_the_network_is_left_as_it_was(mixed, example):
    before = {name: value.clone() for name, value in mixed.state_dict().items()}
    find_layers(mixed, example)
    after = mixed.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(module._forward_hooks for module in mixed.modules())
