"""Small convolutional networks as people outside write them; they know nothing of this project.

Every network maps BANDS bands in [0, 1] to as many, enlarged; see ``third_party.SCALE`` by how
much.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm

BANDS = 6


def conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


class MeanShift(nn.Conv2d):
    """Subtracts (sign -1) or adds the mean of the training set, as a frozen 1 x 1 convolution."""

    def __init__(self, sign: int) -> None:
        super().__init__(BANDS, BANDS, kernel_size=1)
        self.weight.data = torch.eye(BANDS).view(BANDS, BANDS, 1, 1)
        self.bias.data = sign * torch.linspace(0.2, 0.4, BANDS)
        for parameter in self.parameters():
            parameter.requires_grad = False


class ResBlock(nn.Module):
    def __init__(self, features: int, res_scale: float = 1.0) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(features, features), nn.ReLU(True), conv(features, features))
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x).mul(self.res_scale)


class Upsampler(nn.Sequential):
    """One convolution and shuffle for every factor of two."""

    def __init__(self, scale: int, features: int) -> None:
        stages: list[nn.Module] = []
        while scale > 1:
            stages += [conv(features, 4 * features), nn.PixelShuffle(2)]
            scale //= 2
        super().__init__(*stages)


class EDSR(nn.Module):
    """x4 in two stages, mean shifts, a convolution after."""

    def __init__(self, scale: int = 4, features: int = 12) -> None:
        super().__init__()
        self.scale = [scale]
        self.sub_mean = MeanShift(-1)
        self.add_mean = MeanShift(1)
        self.head = nn.Sequential(conv(BANDS, features))
        self.body = nn.Sequential(
            *(ResBlock(features, 0.1) for _ in range(2)), conv(features, features)
        )
        self.tail = nn.Sequential(Upsampler(scale, features), conv(features, BANDS))

    def forward(self, x):
        x = self.sub_mean(x)
        x = self.head(x)
        res = self.body(x)
        res += x
        return self.add_mean(self.tail(res))


class ChannelAttention(nn.Module):
    def __init__(self, features: int, reduction: int = 4) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.conv_du = nn.Sequential(
            conv(features, features // reduction, 1),
            nn.ReLU(inplace=True),
            conv(features // reduction, features, 1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.conv_du(self.avg_pool(x))


class RCAN(nn.Module):
    """Residual groups that all end in one shared convolution, registered under two names."""

    def __init__(self, features: int = 12) -> None:
        super().__init__()
        self.head = conv(BANDS, features)
        self.shared = conv(features, features)
        self.groups = nn.ModuleList(
            nn.Sequential(ResBlock(features), ChannelAttention(features)) for _ in range(2)
        )
        self.fuse = self.shared
        self.tail = nn.Sequential(conv(features, 4 * features), nn.PixelShuffle(2))
        self.last = conv(features, BANDS)

    def forward(self, x):
        x = self.head(x)
        out = x
        for group in self.groups:
            out = out + self.shared(group(out))
        return self.last(self.tail(self.fuse(out) + x))


class WDSR(nn.Module):
    """Wide activation with weight normalisation, in the old or the new manner of PyTorch."""

    def __init__(self, wn, scale: int = 4, features: int = 8) -> None:
        super().__init__()
        self.register_buffer("image_mean", torch.full((1, BANDS, 1, 1), 0.3))
        self.head = wn(conv(BANDS, features))
        self.body = nn.Sequential(
            wn(conv(features, 4 * features, 1)), nn.ReLU(), wn(conv(4 * features, features))
        )
        self.tail = nn.Sequential(wn(conv(features, scale**2 * BANDS)), nn.PixelShuffle(scale))
        self.skip = nn.Sequential(wn(conv(BANDS, scale**2 * BANDS, 5)), nn.PixelShuffle(scale))

    def forward(self, x):
        x = x - self.image_mean
        y = self.head(x)
        return self.tail(y + self.body(y)) + self.skip(x) + self.image_mean


class FSRCNN(nn.Module):
    """Shrink, map, expand, and one transposed convolution at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.feature = nn.Sequential(conv(BANDS, 16, 5), nn.PReLU(16))
        self.shrink = nn.Sequential(conv(16, 8, 1), nn.PReLU(8))
        self.map = nn.Sequential(conv(8, 8), conv(8, 8), nn.PReLU(8))
        self.expand = nn.Sequential(conv(8, 16, 1), nn.PReLU(16))
        self.deconv = nn.ConvTranspose2d(16, BANDS, 9, stride=2, padding=4, output_padding=1)

    def forward(self, x):
        return self.deconv(self.expand(self.map(self.shrink(self.feature(x)))))


class LapSRN(nn.Module):
    """Two pyramid levels that share every layer; returns both levels, coarse to fine."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_input = conv(BANDS, 12)
        self.embedding = nn.Sequential(conv(12, 12), nn.LeakyReLU(0.2))
        self.deconv = nn.ConvTranspose2d(12, 12, 4, stride=2, padding=1, bias=False)
        self.image_deconv = nn.ConvTranspose2d(BANDS, BANDS, 4, stride=2, padding=1, bias=False)
        self.conv_residual = conv(12, BANDS)

    def forward(self, x):
        images = []
        features = self.conv_input(x)
        for _ in range(2):
            features = self.deconv(self.embedding(features))
            x = self.image_deconv(x) + self.conv_residual(features)
            images.append(x)
        return images


class ResizeConv(nn.Module):
    """Nearest neighbour, then a convolution, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_first = conv(BANDS, 12)
        self.upconv1 = conv(12, 12)
        self.upconv2 = conv(12, 12)
        self.conv_last = conv(12, BANDS)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x):
        x = self.conv_first(x)
        x = self.lrelu(self.upconv1(F.interpolate(x, scale_factor=2, mode="nearest")))
        x = self.lrelu(self.upconv2(F.interpolate(x, scale_factor=2, mode="nearest")))
        return self.conv_last(x)


class Conv3dNet(nn.Module):
    """Takes a volume [N, 1, B, h, w] and gives one: the bands are the depth."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv3d(1, 8, 3, padding=1)
        self.body = nn.Conv3d(8, 8, (3, 3, 3), padding=1)
        self.up = nn.ConvTranspose3d(8, 8, (3, 4, 4), stride=(1, 2, 2), padding=1)
        self.tail = nn.Conv3d(8, 1, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.head(x))
        x = x + F.relu(self.body(x))
        return self.tail(F.relu(self.up(x)))


class Deconv3d(nn.Module):
    """Makes the volume itself; a ConvTranspose3d with stride (1, s, s) enlarges."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv3d(1, 8, (3, 3, 3), padding=1)
        self.up = nn.ConvTranspose3d(8, 1, (3, 6, 6), stride=(1, 4, 4), padding=1)

    def forward(self, x):
        return self.up(F.relu(self.head(x.unsqueeze(1)))).squeeze(1)


def wdsr():
    return WDSR(weight_norm)


def wdsr_parametrized():
    return WDSR(parametrizations.weight_norm)
