"""Small networks of every kind of upsampler."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

BANDS = 6


class EDSRLike(nn.Module):
    """Two sub-pixel stages, each x2, with an activation before the second shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(BANDS, 16, 3, padding=1)
        self.block = nn.Conv2d(16, 16, 3, padding=1)
        self.up1 = nn.Sequential(nn.Conv2d(16, 64, 3, padding=1), nn.PixelShuffle(2))
        self.up2 = nn.Sequential(
            nn.Conv2d(16, 64, 3, padding=1), nn.LeakyReLU(0.2), nn.PixelShuffle(2)
        )
        self.tail = nn.Conv2d(16, BANDS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        x = x + torch.relu(self.block(x))
        return self.tail(self.up2(self.up1(x)))


class FunctionalShuffle(nn.Module):
    """Functional shuffle, bicubic residual, tuple output, weight-normed upsampler."""

    def __init__(self, weight_norm: bool = True) -> None:
        super().__init__()
        self.head = nn.Conv2d(BANDS, 16, 3, padding=1)
        up = nn.Conv2d(16, BANDS * 16, 3, padding=1)
        self.up = parametrizations.weight_norm(up) if weight_norm else up

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.up(F.gelu(self.head(x))).contiguous()
        high = F.pixel_shuffle(features, 4)
        smooth = F.interpolate(x, scale_factor=4, mode="bicubic", align_corners=False)
        return high + smooth, features


class ParallelPair(nn.Module):
    """DACN's block: two transposed convolutions on one tensor, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(BANDS, 12, 3, padding=1)
        self.main1 = nn.ConvTranspose2d(12, 8, 4, stride=2, padding=1)
        self.side1 = nn.ConvTranspose2d(12, 8, 4, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.main2 = nn.ConvTranspose2d(16, 4, 4, stride=2, padding=1)
        self.side2 = nn.ConvTranspose2d(16, 4, 4, stride=2, padding=1)
        self.tail = nn.Conv2d(8, BANDS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        x = torch.cat([F.leaky_relu(self.norm(self.main1(x)), 0.1), self.side1(x)], 1)
        x = torch.cat([F.leaky_relu(self.main2(x), 0.1), self.side2(x)], 1)
        return self.tail(x)


class DepthOne(nn.Module):
    """A 3-D convolution on a depth of one, squeezed before the shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv3d(BANDS, 8, (1, 3, 3), padding=(0, 1, 1))
        self.up = nn.Conv3d(8, BANDS * 4, (3, 3, 3), padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.head(x.unsqueeze(2)))
        return F.pixel_shuffle(self.up(x).squeeze(2), 2)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "espcn": lambda: nn.Sequential(
        nn.Conv2d(BANDS, 12, 5, padding=2),
        nn.Tanh(),
        nn.Conv2d(12, BANDS * 9, 3, padding=1, bias=False),
        nn.PixelShuffle(3),
    ),
    "edsr": EDSRLike,
    "functional": FunctionalShuffle,
    "deconv": lambda: nn.Sequential(
        nn.Conv2d(BANDS, 8, 3, padding=1),
        nn.PReLU(),
        nn.ConvTranspose2d(8, BANDS, 5, stride=3, padding=1),
    ),
    "pair": ParallelPair,
    "resize": lambda: nn.Sequential(
        nn.Conv2d(BANDS, 12, 3, padding=1),
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.ReflectionPad2d(1),
        nn.Conv2d(12, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, BANDS, 3, padding=1),
    ),
    "depth": DepthOne,
}


@pytest.fixture(scope="session")
def make() -> Callable[[str], nn.Module]:
    """A network by kind, seeded, in evaluation mode."""

    def build(kind: str) -> nn.Module:
        torch.manual_seed(0)
        return NETWORKS[kind]().eval()

    return build


@pytest.fixture(scope="session")
def example() -> Tensor:
    """Two inputs for every network of this folder."""
    return torch.rand(2, BANDS, 7, 9, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def output() -> Callable[[nn.Module, Tensor], Tensor]:
    """First output of a network without gradients."""

    @torch.no_grad()
    def run(model: nn.Module, x: Tensor) -> Tensor:
        y = model(x)
        return y[0] if isinstance(y, tuple) else y

    return run


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
