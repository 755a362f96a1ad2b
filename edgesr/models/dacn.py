"""DACN: Dual-Attention Convolutional Network (arXiv 2506.05041).

The network maps 32 bands to 32 bands and serves every band group of a cube; :class:`BandGroups`
makes a network for a whole cube of it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgesr.errors import ModelError
from edgesr.models._parts import ChannelNorm, check_choice, check_whole
from edgesr.models._registry import register

NAME = "dacn"
GROUP_BANDS = 32
WIDTH = 32
FEATURE_FACTORS = (1, 2, 4)
"""Channels of the feature blocks, as multiples of the width."""
UPSAMPLER_EIGHTHS = {2: (64,), 4: (64, 32), 8: (64, 32, 4)}
"""Filters of the upsampling blocks, in eighths of the width: 256, 128 and 16 at width 32."""
HEADS = 4
NORM_EPS = 1e-3
BATCH_NORM_MOMENTUM = 0.01
SLOPE = 0.1


class SelfAttention(nn.Module):
    """Multi-head attention over all pixels of [N, f, h, w], without positional encoding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        samples, channels, height, width = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        heads = self.qkv(tokens).reshape(samples, -1, 3, HEADS, channels // HEADS)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        mixed = self.project(mixed.transpose(1, 2).flatten(2))
        return mixed.transpose(1, 2).reshape(samples, channels, height, width)


class ChannelAttention(nn.Module):
    """One bottleneck shared by two pooled branches; the gate is the sigmoid of their sum.

    The branches pool the mean and the maximum; ``maximum=False`` pools the mean in both.
    """

    def __init__(self, channels: int, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self.squeeze = nn.Linear(channels, channels // 2)
        self.excite = nn.Linear(channels // 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        mean = self._branch(x.mean(dim=(2, 3)))
        other = self._branch(x.amax(dim=(2, 3))) if self.maximum else mean
        return x * torch.sigmoid(mean + other)[:, :, None, None]

    def _branch(self, pooled: Tensor) -> Tensor:
        return self.excite(torch.relu(self.squeeze(pooled)))


class FeatureBlock(nn.Module):
    """Conv, self-attention with residual, channel attention; a 1x1 skip beside: 2f channels."""

    def __init__(
        self, entering: int, channels: int, maximum: bool, attention: bool, channel_attention: bool
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(entering, channels, 3, padding=1)
        self.batch_norm = _batch_norm(channels)
        self.attention = SelfAttention(channels) if attention else None
        self.norm = ChannelNorm(channels, eps=NORM_EPS)
        self.gate = ChannelAttention(channels, maximum) if channel_attention else nn.Identity()
        self.skip = nn.Conv2d(entering, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        local = F.leaky_relu(self.batch_norm(self.conv(x)), SLOPE)
        if self.attention is not None:
            local = local + self.attention(local)
        attended = self.norm(local)
        return torch.cat((self.gate(attended), self.skip(x)), dim=1)


class UpsamplingBlock(nn.Module):
    """Two parallel transposed convs that double the size, one of them normalised and activated."""

    def __init__(self, entering: int, channels: int) -> None:
        super().__init__()
        self.main = nn.ConvTranspose2d(entering, channels, 4, stride=2, padding=1)
        self.batch_norm = _batch_norm(channels)
        self.skip = nn.ConvTranspose2d(entering, channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        main = F.leaky_relu(self.batch_norm(self.main(x)), SLOPE)
        return torch.cat((main, self.skip(x)), dim=1)


class DACN(nn.Module):
    """The 32-band network, without a global skip.

    Args:
        scale: 2, 4 or 8.
        variant: "paper" pools mean and maximum in channel attention; "published" pools the mean in
            both branches, as the authors' code does.
        group_bands: bands S that the network takes; 32 as published.
        attention: False leaves the self-attention out (the paper's Table I).
        channel_attention: False leaves the channel attention out (the paper's Table I).
        width: channels of the first feature block, a multiple of 8; all others follow.

    Shapes:
        forward: [N, S, h, w] -> [N, S, h*scale, w*scale].

    Weights start as Keras starts them (Glorot uniform, zero biases), since the authors used Keras.

    Raises:
        ModelError: an option out of range.
    """

    name = NAME

    def __init__(
        self,
        scale: int = 4,
        variant: str = "paper",
        group_bands: int = GROUP_BANDS,
        attention: bool = True,
        channel_attention: bool = True,
        width: int = WIDTH,
    ) -> None:
        super().__init__()
        check_choice(NAME, "scale", scale, list(UPSAMPLER_EIGHTHS))
        check_choice(NAME, "variant", variant, ["paper", "published"])
        check_whole(NAME, "group_bands", group_bands, 1)
        check_choice(NAME, "attention", attention, [True, False])
        check_choice(NAME, "channel_attention", channel_attention, [True, False])
        check_whole(NAME, "width", width, 8)
        if width % 8:
            raise ModelError(f"{NAME} got width={width}; give a multiple of 8, such as {WIDTH}")
        self.config: dict[str, Any] = {
            "scale": scale,
            "variant": variant,
            "group_bands": group_bands,
            "attention": attention,
            "channel_attention": channel_attention,
            "width": width,
        }
        self.scale = scale
        self.bands = group_bands
        features: list[nn.Module] = []
        entering = group_bands
        for channels in (factor * width for factor in FEATURE_FACTORS):
            features.append(
                FeatureBlock(entering, channels, variant == "paper", attention, channel_attention)
            )
            entering = 2 * channels
        upsampler: list[nn.Module] = []
        for filters in (eighths * width // 8 for eighths in UPSAMPLER_EIGHTHS[scale]):
            upsampler.append(UpsamplingBlock(entering, filters))
            entering = 2 * filters
        self.features = nn.Sequential(*features)
        self.upsampler = nn.Sequential(*upsampler)
        self.head = nn.Conv2d(entering, group_bands, 3, padding=1)
        self.apply(_keras_start)

    def forward(self, lr: Tensor) -> Tensor:
        return self.head(self.upsampler(self.features(lr)))


class BandGroups(nn.Module):
    """Run a network of ``size`` bands over all bands of a cube, in overlapping groups.

    Groups start every ``size - overlap`` bands; where the last would leave bands over, one more
    group ends at the last band. Bands that several groups predict are averaged. (The authors' code
    uses the starts 0, 24 and 48 only and so never touches bands 80 and up: to compare, take the
    first 80 bands.)

    Args:
        core: network [N, size, h, w] -> [N, size, h*scale, w*scale] with ``config`` and ``scale``.
        bands: spectral bands B of the cube, at least ``size``.
        size: bands of a group.
        overlap: bands that neighbouring groups share, below ``size``.

    Shapes:
        forward: [N, B, h, w] -> [N, B, h*scale, w*scale].

    Raises:
        ModelError: too few bands, or an overlap out of range.
    """

    name = NAME

    def __init__(
        self, core: nn.Module, bands: int, size: int = GROUP_BANDS, overlap: int = 8
    ) -> None:
        super().__init__()
        check_whole(NAME, "bands", bands, 1)
        if bands < size:
            raise ModelError(
                f"{NAME} works on groups of {size} bands but got bands={bands}; "
                f"give a cube of at least {size} bands or choose another network"
            )
        check_choice(NAME, "overlap", overlap, list(range(size)))
        self.core = core
        self.bands = bands
        self.size = size
        self.scale: int = core.scale  # type: ignore[assignment]
        self.starts = list(range(0, bands - size + 1, size - overlap))
        if self.starts[-1] + size < bands:
            self.starts.append(bands - size)
        self.config: dict[str, Any] = {
            **core.config,  # type: ignore[dict-item]
            "bands": bands,
            "overlap": overlap,
        }

    def split(self, cube: Tensor) -> Tensor:
        """[N, B, h, w] -> [N*G, size, h, w], the groups of a sample one after another."""
        groups = [cube[:, start : start + self.size] for start in self.starts]
        return torch.stack(groups, dim=1).flatten(0, 1)

    def merge(self, groups: Tensor, samples: int) -> Tensor:
        """[N*G, size, H, W] -> [N, B, H, W] with N = ``samples``, the mean where groups overlap."""
        groups = groups.reshape(samples, len(self.starts), *groups.shape[1:])
        edges = sorted({*self.starts, *(start + self.size for start in self.starts)})
        runs = []
        for first, end in pairwise(edges):
            votes = [
                groups[:, index, first - start : end - start]
                for index, start in enumerate(self.starts)
                if start <= first < start + self.size
            ]
            runs.append(votes[0] if len(votes) == 1 else sum(votes[1:], votes[0]) / len(votes))
        return torch.cat(runs, dim=1)

    def forward(self, lr: Tensor) -> Tensor:
        return self.merge(self.core(self.split(lr)), lr.shape[0])


@register(NAME)
def build_dacn(
    scale: int = 4,
    variant: str = "paper",
    bands: int | None = None,
    overlap: int = 8,
    group_bands: int = GROUP_BANDS,
    attention: bool = True,
    channel_attention: bool = True,
    width: int = WIDTH,
) -> nn.Module:
    """:class:`DACN` for one group of bands, or with ``bands`` the same over a whole cube."""
    core = DACN(scale, variant, group_bands, attention, channel_attention, width)
    return core if bands is None else BandGroups(core, bands, group_bands, overlap)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPS, momentum=BATCH_NORM_MOMENTUM)


def _keras_start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
