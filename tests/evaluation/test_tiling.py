"""Tiles are as large as memory and attention allow, and no larger."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgesr.errors import DataError
from edgesr.evaluation.evaluate import super_resolve
from edgesr.evaluation.tiling import (
    LARGEST_TILE,
    require_memory_for_step,
    require_memory_for_tile,
    tile_limit,
)
from edgesr.models import create_model

CPU = torch.device("cpu")


class Plain(nn.Module):
    """A pixel costs 12 * 3 * 9 MACs; alive at the peak are two images of 12 channels, float32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(lr), 2)


class Attention(nn.Module):
    """Each of n pixels meets all others: 2 * n * width MACs of attention, 27 * width otherwise.

    ``width`` is that of queries and values. With ``maps``, the n x n matrix stands in the memory.
    """

    def __init__(self, width: int, maps: bool = False) -> None:
        super().__init__()
        self.maps = maps
        self.conv = nn.Conv2d(3, width, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        tokens = self.conv(lr).flatten(2).transpose(1, 2)[:, None]
        if self.maps:
            mixed = torch.softmax(tokens @ tokens.transpose(2, 3), -1) @ tokens
        else:
            mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
        mean = mixed.mean((1, 3)).unflatten(1, lr.shape[2:])
        return F.interpolate(lr + mean[:, None], scale_factor=2)


@pytest.fixture
def memory(monkeypatch):
    """Set the bytes of the machine, all of them free."""

    def install(total: int, free: int | None = None) -> None:
        monkeypatch.setattr("edgesr.evaluation.tiling.total_memory", lambda: total)
        monkeypatch.setattr("edgesr.evaluation.tiling.free_memory", lambda: free or total)

    return install


def test_memory_bounds_a_convolution(memory):
    per_pixel = 4 * (12 + 12)
    memory(8 * per_pixel * 200**2)
    assert tile_limit(Plain(), 3, CPU) == 192  # the multiple of 16 below 200
    memory(8 * per_pixel * 200**2, free=2 * per_pixel * 100**2)
    assert tile_limit(Plain(), 3, CPU) == 96
    memory(2**50)
    assert tile_limit(Plain(), 3, CPU) == LARGEST_TILE
    memory(1)
    assert tile_limit(Plain(), 3, CPU) == 64


def heavy(layers: int) -> nn.Sequential:
    """Convolutions of 3 * 3 * 31 * 31 MACs a pixel each."""
    return nn.Sequential(*(nn.Conv2d(3, 3, 31, padding=15) for _ in range(layers)))


def test_attention_ends_where_it_costs_as_much_as_the_rest(memory):
    memory(2**50)
    convolutions = 10 * 3 * 3 * 31**2 + 3 * 4 * 9
    side = math.sqrt(convolutions / (2 * 4))  # n pixels cost 2 * n * 4 MACs each
    assert 96 < side < 112
    assert tile_limit(nn.Sequential(heavy(10), Attention(4)), 3, CPU) == 96


def test_attention_maps_are_seen_in_the_memory(memory):
    model = nn.Sequential(heavy(20), Attention(4, maps=True))
    memory(8 * 2 * 4 * 7000**2)  # products and softmax of 7000 pixels, 83 a side
    assert tile_limit(model, 3, CPU) == 80
    memory(8 * 2 * 4 * 13000**2)  # 114 a side
    assert tile_limit(model, 3, CPU) == 112


@pytest.mark.parametrize("name", ["dacn", "lkca_net"])
def test_the_attention_of_dacn_is_bounded_the_convolutions_of_lkca_net_are_not(memory, name):
    memory(2**50)
    options = {"blocks": 1, "channels": 16} if name == "lkca_net" else {}
    limit = tile_limit(create_model(name, bands=32, scale=2, **options).eval(), 32, CPU)
    if name == "lkca_net":
        assert limit == LARGEST_TILE
    else:
        assert 64 <= limit <= 128


def test_the_mode_of_the_weights_is_left_alone(memory):
    memory(2**40)
    model = Plain()
    tile_limit(model, 3, CPU)
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())


def test_only_images_that_do_not_fit_are_cut(memory, monkeypatch):
    seen = []
    model = Plain()
    model.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape[2:])))
    memory(1)
    super_resolve(model, torch.rand(3, 64, 64), scale=2)
    assert seen == [(64, 64)]
    lr = torch.rand(3, 70, 40)
    tiled = super_resolve(model, lr, scale=2)
    assert seen[1:] == [(16, 16), (32, 32), (64, 40), (64, 40)]  # two probes, two tiles
    memory(2**50)
    whole = super_resolve(model, lr, scale=2)
    assert seen[-1] == (70, 40)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", [65, 500])
def test_a_tile_that_does_not_fit_is_refused_with_the_amount(monkeypatch, side):
    """Two images of 12 channels in float32 are alive at the peak of the plain network."""
    network, needed = Plain().eval(), 2 * 12 * 4 * side**2
    monkeypatch.setattr("edgesr.cube.memory.free_memory", lambda: needed)
    require_memory_for_tile(network, 3, (side, side), "--tile")
    monkeypatch.setattr("edgesr.cube.memory.free_memory", lambda: needed - 1)
    with pytest.raises(DataError, match=f"{needed / 1e9:.1f} GB .*choose a smaller --tile"):
        require_memory_for_tile(network, 3, (side, side), "--tile")


def test_memory_of_attention_grows_with_the_square_of_the_pixels(monkeypatch):
    """At least the n x n matrix, before and after its softmax."""
    side = 200
    monkeypatch.setattr("edgesr.cube.memory.free_memory", lambda: 2 * 4 * side**4)
    with pytest.raises(DataError, match="a tile of 200 x 200 pixels needs about"):
        require_memory_for_tile(Attention(4, maps=True).eval(), 3, (side, side), "--latency-tile")
    half = (side // 2, side // 2)
    require_memory_for_tile(Attention(4, maps=True).eval(), 3, half, "--latency-tile")


def test_a_step_that_does_not_fit_is_refused_with_the_amount(memory):
    """Each of three layers keeps its output of 12 channels for the gradient."""
    layers = [nn.Conv2d(12, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)]
    network = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.Tanh(), *layers).train()
    needed = 4 * 12 * 4 * 8**2
    lr = torch.zeros(1, 3, 8, 8)
    memory(100 * (needed + lr.nbytes))
    require_memory_for_step(network, lr, 100)
    assert network.training
    with pytest.raises(DataError, match="a step of 1000 patches needs about"):
        require_memory_for_step(network, lr, 1000)
