"""Small networks with habits that nobody expects, for ``--model strangers:NAME``.

They stand for kinds that published networks are of; no line of those is here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from third_party_conv import BANDS, conv
from torch import Tensor, nn


class Masked(nn.Module):
    """A mask over a training image's windows, made when the network is built and stored with it."""

    def __init__(self, image: int = 16) -> None:
        super().__init__()
        windows = (image // 4) ** 2
        mask = torch.arange(windows * 16).reshape(windows, 16).remainder(3).float()
        self.register_buffer("attn_mask", mask)
        self.register_buffer("places", torch.linspace(0, 1, image))
        self.register_buffer("window", None)
        self.norm = nn.BatchNorm2d(12)
        self.head, self.up = conv(BANDS, 12), conv(12, 4 * BANDS)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.up(F.relu(self.norm(self.head(x)))), 2)


class InPlace(nn.Module):
    """An activation in place writes over what another layer's backward pass needs."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body = conv(BANDS, 12), conv(12, 12)
        self.act, self.later = nn.ReLU(inplace=True), nn.LeakyReLU(0.1, inplace=True)
        self.up = conv(12, 4 * BANDS)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.sigmoid(self.head(x))
        y = self.act(x - 0.5)
        return F.pixel_shuffle(self.up(self.body(y) * y + self.later(y)), 2)


class Relying(nn.Module):
    """An activation in place whose effect on its input is part of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.act, self.up = conv(BANDS, 12), nn.ReLU(inplace=True), conv(12, 4 * BANDS)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.head(x))
        y = x * x
        self.act(x)
        return F.pixel_shuffle(self.up(x + y), 2)


class MeanTaking(nn.Module):
    """Subtracts its mean from its input, in place, and adds it in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.linspace(0.2, 0.6, BANDS).reshape(1, BANDS, 1, 1))
        self.head, self.up = conv(BANDS, 12), conv(12, 4 * BANDS)

    def forward(self, x: Tensor) -> Tensor:
        x -= self.mean
        return F.pixel_shuffle(self.up(F.relu(self.head(x))), 2) + self.mean


class Clipping(MeanTaking):
    """Clips its input in place, which changes no image in [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.up(F.relu(self.head(x.clamp_(0, 1)))), 2)


class OneSize(nn.Module):
    """A learnt position for every pixel of a training image: it runs at that size alone."""

    def __init__(self, side: int = 16) -> None:
        super().__init__()
        self.position = nn.Parameter(0.1 * torch.randn(1, 12, side, side))
        self.head, self.up = conv(BANDS, 12), conv(12, 4 * BANDS)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.up(F.relu(self.head(x) + self.position)), 2)


class BeforeBicubic(nn.Module):
    """Corrects the image before it is interpolated: no layer of it enlarges."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = conv(BANDS, 12), conv(12, BANDS)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.1 * self.tail(F.relu(self.head(x)))
        return F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)


masked, in_place, relying, mean_taking = Masked, InPlace, Relying, MeanTaking
clipping, one_size, before_bicubic = Clipping, OneSize, BeforeBicubic


def one_size_24() -> nn.Module:
    return OneSize(24)
