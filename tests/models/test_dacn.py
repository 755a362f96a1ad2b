from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgesr.errors import ModelError
from edgesr.models import DACN, BandGroups, create_model


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(0)


class Nearest(nn.Module):
    """A stand-in core that only enlarges, so that merging must give back the enlarged cube."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.config = {"scale": scale}

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


def reference_attention(block: nn.Module, x: Tensor) -> Tensor:
    """The same attention by torch.nn.MultiheadAttention, which keeps the q, k, v rows likewise."""
    channels = x.shape[1]
    peer = nn.MultiheadAttention(channels, 4, batch_first=True)
    peer.load_state_dict(
        {
            "in_proj_weight": block.qkv.weight,
            "in_proj_bias": block.qkv.bias,
            "out_proj.weight": block.project.weight,
            "out_proj.bias": block.project.bias,
        }
    )
    tokens = x.permute(0, 2, 3, 1).flatten(1, 2)
    mixed, _ = peer(tokens, tokens, tokens, need_weights=True)
    return mixed.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


@torch.no_grad()
def feature_block_by_hand(block: nn.Module, x: Tensor, second_pool: str) -> Tensor:
    conv = F.conv2d(x, block.conv.weight, block.conv.bias, padding=1)
    norm = block.batch_norm
    conv = (conv - norm.running_mean[:, None, None]) / torch.sqrt(
        norm.running_var[:, None, None] + 1e-3
    )
    local = F.leaky_relu(
        conv * norm.weight[:, None, None] + norm.bias[:, None, None], negative_slope=0.1
    )
    summed = (local + reference_attention(block.attention, local)).permute(0, 2, 3, 1)
    y = F.layer_norm(summed, summed.shape[-1:], block.norm.weight, block.norm.bias, 1e-3)
    y = y.permute(0, 3, 1, 2)

    def dense(pooled: Tensor) -> Tensor:
        hidden = F.relu(pooled @ block.gate.squeeze.weight.T + block.gate.squeeze.bias)
        return hidden @ block.gate.excite.weight.T + block.gate.excite.bias

    pools = {"mean": y.mean((2, 3)), "maximum": y.flatten(2).max(2).values}
    gate = torch.sigmoid(dense(pools["mean"]) + dense(pools[second_pool]))
    skip = F.conv2d(x, block.skip.weight, block.skip.bias)
    return torch.cat([y * gate[:, :, None, None], skip], 1)


@pytest.mark.parametrize(("variant", "second_pool"), [("paper", "maximum"), ("published", "mean")])
@torch.no_grad()
def test_feature_block_is_the_papers_formula(variant: str, second_pool: str) -> None:
    block = DACN(scale=2, variant=variant).features[1].train()
    for _ in range(3):
        block(torch.randn(2, 64, 6, 5))
    block.eval()
    x = torch.randn(2, 64, 6, 5)
    torch.testing.assert_close(
        block(x), feature_block_by_hand(block, x, second_pool), rtol=1e-4, atol=1e-4
    )


def test_variants_differ_but_share_their_weights() -> None:
    paper, published = DACN(scale=2).eval(), DACN(scale=2, variant="published").eval()
    published.load_state_dict(paper.state_dict())
    lr = torch.rand(1, 32, 4, 4)
    with torch.no_grad():
        assert not torch.allclose(paper(lr), published(lr))


@pytest.mark.parametrize("scale", [2, 4, 8])
@torch.no_grad()
def test_enlarges(scale: int) -> None:
    assert create_model("dacn", scale=scale)(torch.rand(2, 32, 3, 5)).shape == (
        2,
        32,
        3 * scale,
        5 * scale,
    )


@settings(deadline=None, max_examples=25)
@given(
    bands=st.integers(32, 160),
    overlap=st.integers(0, 31),
    samples=st.integers(1, 3),
    scale=st.integers(1, 2),
)
def test_groups_cover_every_band_and_merge_back(
    bands: int, overlap: int, samples: int, scale: int
) -> None:
    network = BandGroups(Nearest(scale), bands, overlap=overlap)
    cube = torch.randn(samples, bands, 2, 3)
    groups = network.split(cube)
    assert groups.shape == (samples * len(network.starts), 32, 2, 3)
    torch.testing.assert_close(network(cube), network.core(cube))
    # What is averaged: the mean, over the groups that hold a band, of their values for it.
    values = torch.randn(samples, len(network.starts), 32, 1, 1)
    total, votes = torch.zeros(samples, bands), torch.zeros(bands)
    for index, start in enumerate(network.starts):
        total[:, start : start + 32] += values[:, index, :, 0, 0]
        votes[start : start + 32] += 1
    merged = network.merge(values.flatten(0, 1), samples)[:, :, 0, 0]
    torch.testing.assert_close(merged, total / votes)


def test_eighty_bands_are_the_published_groups() -> None:
    assert create_model("dacn", scale=2, bands=80).starts == [0, 24, 48]
    assert create_model("dacn", scale=2, bands=103).starts == [0, 24, 48, 71]


def test_groups_are_independent_samples() -> None:
    network = create_model("dacn", scale=2, bands=40).eval()
    cube = torch.rand(2, 40, 4, 4)
    with torch.no_grad():
        first = network.core(cube[:, :32])
        torch.testing.assert_close(network(cube)[:, :8], first[:, :8], rtol=1e-4, atol=1e-5)


def test_too_few_bands() -> None:
    with pytest.raises(ModelError, match=r"groups of 32 bands but got bands=31"):
        create_model("dacn", bands=31)
