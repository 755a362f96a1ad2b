"""DACN with parts left out or other sizes, as its Table I varies them."""

from __future__ import annotations

import pytest
import torch

from edgesr.errors import ModelError
from edgesr.models import create_model


def parameters(**config) -> int:
    return sum(p.numel() for p in create_model("dacn", scale=4, **config).parameters())


def test_attention_and_its_projection_leave_whole() -> None:
    removed = parameters() - parameters(attention=False)
    assert removed == sum(4 * (width * width + width) for width in (32, 64, 128))


def test_channel_attention_leaves_whole() -> None:
    removed = parameters() - parameters(channel_attention=False)
    assert removed == sum(width * width + width // 2 + width for width in (32, 64, 128))


@torch.no_grad()
def test_without_both_a_block_is_convolution_and_norm_beside_the_skip() -> None:
    torch.manual_seed(0)
    network = create_model("dacn", scale=2, attention=False, channel_attention=False).eval()
    block, x = network.features[0], torch.rand(2, 32, 4, 5)
    local = torch.nn.functional.leaky_relu(block.batch_norm(block.conv(x)), 0.1)
    expected = torch.cat((block.norm(local), block.skip(x)), 1)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(("size", "overlap", "groups"), [(16, 4, 9), (48, 12, 3), (103, 0, 1)])
@torch.no_grad()
def test_other_groups_cover_the_cube(size: int, overlap: int, groups: int) -> None:
    network = create_model("dacn", scale=2, bands=103, group_bands=size, overlap=overlap, width=8)
    assert len(network.starts) == groups
    assert network.eval()(torch.rand(1, 103, 3, 4)).shape == (1, 103, 6, 8)
    assert network.core.head.out_channels == size


def test_the_width_scales_every_channel() -> None:
    narrow, full = create_model("dacn", scale=8, width=8), create_model("dacn", scale=8)
    assert [block.conv.out_channels for block in narrow.features] == [8, 16, 32]
    for one, other in zip(narrow.upsampler, full.upsampler, strict=True):
        assert 4 * one.main.out_channels == other.main.out_channels


@pytest.mark.parametrize(
    ("option", "value"),
    [("attention", 1), ("channel_attention", None), ("width", 12), ("group_bands", 0)],
)
def test_values_that_no_network_has(option: str, value: object) -> None:
    with pytest.raises(ModelError, match=option):
        create_model("dacn", **{option: value})
