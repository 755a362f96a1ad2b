"""LKCA-Net, of "Rethinking the Upsampling Layer in Hyperspectral Image Super Resolution".

No code was published. The layout below reproduces every parameter and FLOPs figure of the paper's
Tables I, V, VI and VII when built with ``paper_exact=True``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from edgesr.errors import ModelError
from edgesr.models._parts import (
    ChannelNorm,
    DropPath,
    bicubic_skip,
    check_choice,
    check_pair,
    check_whole,
)
from edgesr.models._registry import register

NAME = "lkca_net"
FUSION_GROUPS = 4
SQUEEZE = 16
LEAN_DILATIONS = (1, 3)
PAPER_DILATIONS = (5, 7)


class SqueezeGate(nn.Module):
    """Channel attention: pooled means -> bottleneck -> sigmoid gate, times the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(channels, channels // SQUEEZE, 1)
        self.excite = nn.Conv2d(channels // SQUEEZE, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(self.pool(x)))))


class LargeKernelAttention(nn.Module):
    """LKCA: a 5x5 and a 7x7 depthwise conv in a row, channel attention over input and both.

    The gated 3C channels are fused to C by a grouped 1x1 conv and multiply the input.
    """

    def __init__(self, channels: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        self.near = _depthwise(channels, 5, dilations[0])
        self.far = _depthwise(channels, 7, dilations[1])
        self.gate = SqueezeGate(3 * channels)
        self.fuse = nn.Conv2d(3 * channels, channels, 1, groups=FUSION_GROUPS)

    def forward(self, x: Tensor) -> Tensor:
        near = self.near(x)
        far = self.far(near)
        return self.fuse(self.gate(torch.cat((x, near, far), dim=1))) * x


class LargeKernelBlock(nn.Module):
    """LKB: x + DropPath(scale * proj2(LKCA(GELU(proj1(LN(x)))))), [N, C, h, w] to the same."""

    def __init__(
        self, channels: int, dilations: tuple[int, int], drop_path: float, paper_exact: bool
    ) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.expand = nn.Conv2d(channels, channels, 1)
        self.activation = nn.GELU()
        self.attention = LargeKernelAttention(channels, dilations)
        self.project = nn.Conv2d(channels, channels, 1)
        self.layer_scale = nn.Parameter(torch.full((channels, 1, 1), 1e-2))
        self.drop_path = DropPath(drop_path)
        if paper_exact:
            self.unused_norm = ChannelNorm(channels)
            self.unused_scale = nn.Parameter(torch.full((channels, 1, 1), 1e-2))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.activation(self.expand(self.norm(x)))
        return x + self.drop_path(self.layer_scale * self.project(self.attention(hidden)))


@register(NAME)
class LKCANet(nn.Module):
    """SR = PixelShuffle(upsampler(body(head(LR)))) + bicubic(LR).

    ``paper_exact=True`` holds what the published counts contain beyond what the network uses, and
    the dilations of the text. It differs from the lean default in three ways:

    - each block carries a second LayerNorm and a second scale vector that forward never touches:
      the paper counts 384 parameters a block more than its text uses;
    - the upsampler is weight-normalised, which adds the one B*r^2 vector of the paper's count that
      has no multiply-accumulates. The function stays the same;
    - ``dilations`` are (5, 7) for the 5x5 and the 7x7 kernel. The lean default is (1, 3): on the
      16 x 16 patches that the paper trains on, a 7x7 kernel at dilation 7 sends gradient to 25 of
      its 49 taps only; the rest stay random and then act on larger images.

    Args:
        bands: spectral bands B of input and output.
        scale: magnification r, at least 2.
        blocks: number of blocks.
        groups: groups of the upsampler. They must divide ``channels`` and r^2 (and so B*r^2).
        channels: width C, a multiple of 16.
        dilations: of the 5x5 and the 7x7 depthwise conv; None takes the defaults above.
        drop_path: stochastic depth of the last block, in [0, 1); earlier blocks rise to it linearly
            from 0.
        paper_exact: see above.

    Shapes:
        forward: [N, B, h, w] -> [N, B, h*r, w*r], both in [0, 1] (the output is not clipped).

    Raises:
        ModelError: an option out of range.
    """

    name = NAME

    def __init__(
        self,
        bands: int,
        scale: int = 4,
        blocks: int = 16,
        groups: int = 1,
        channels: int = 128,
        dilations: Sequence[int] | None = None,
        drop_path: float = 0.0,
        paper_exact: bool = False,
    ) -> None:
        super().__init__()
        check_choice(NAME, "paper_exact", paper_exact, [False, True])
        if dilations is None:
            dilations = PAPER_DILATIONS if paper_exact else LEAN_DILATIONS
        check_pair(NAME, "dilations", dilations)
        self.config: dict[str, Any] = {
            "bands": bands,
            "scale": scale,
            "blocks": blocks,
            "groups": groups,
            "channels": channels,
            "dilations": list(dilations),
            "drop_path": drop_path,
            "paper_exact": paper_exact,
        }
        _check(self.config)
        self.bands = bands
        self.scale = scale
        near, far = dilations
        self.head = nn.Conv2d(bands, channels, 3, padding=1)
        self.body = nn.Sequential(
            *(
                LargeKernelBlock(channels, (near, far), rate, paper_exact)
                for rate in torch.linspace(0, drop_path, blocks + 1, device="cpu").tolist()[1:]
            )
        )
        upsampler = nn.Conv2d(channels, bands * scale**2, 3, padding=1, groups=groups)
        nn.init.normal_(upsampler.weight, std=1e-3)
        nn.init.zeros_(upsampler.bias)  # type: ignore[arg-type]
        self.upsampler = weight_norm(upsampler) if paper_exact else upsampler
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, lr: Tensor) -> Tensor:
        detail = self.shuffle(self.upsampler(self.body(self.head(lr))))
        return detail + bicubic_skip(lr, self.scale)


def _depthwise(channels: int, kernel: int, dilation: int) -> nn.Conv2d:
    reach = dilation * (kernel // 2)
    return nn.Conv2d(channels, channels, kernel, padding=reach, dilation=dilation, groups=channels)


def _check(config: dict[str, Any]) -> None:
    for option, least in (("bands", 1), ("scale", 2), ("blocks", 1), ("channels", SQUEEZE)):
        check_whole(NAME, option, config[option], least)
    channels, scale = config["channels"], config["scale"]
    if channels % SQUEEZE:
        near = max(SQUEEZE, channels // SQUEEZE * SQUEEZE)
        raise ModelError(
            f"{NAME} got channels={channels}; give a multiple of {SQUEEZE}, such as {near}"
        )
    common = math.gcd(channels, scale**2)
    valid = [divisor for divisor in range(1, common + 1) if common % divisor == 0]
    if isinstance(config["groups"], bool) or config["groups"] not in valid:
        raise ModelError(
            f"{NAME} got groups={config['groups']!r}, which must divide channels={channels}, "
            f"bands*scale^2={config['bands'] * scale**2} and scale^2={scale**2}; "
            f"choose one of {', '.join(map(str, valid))}"
        )
    if isinstance(config["drop_path"], bool) or not (
        isinstance(config["drop_path"], int | float) and 0 <= config["drop_path"] < 1
    ):
        raise ModelError(
            f"{NAME} got drop_path={config['drop_path']!r}; give a rate from 0 to below 1"
        )
