"""Small networks with ways of their own: hand-made layers, other calls, other state.

See ``third_party_conv``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from third_party_conv import BANDS, conv
from torch import nn


class Functional(nn.Module):
    """Parameters and functionals instead of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(12, BANDS, 3, 3) * 0.1)
        self.b1 = nn.Parameter(torch.zeros(12))
        self.w2 = nn.Parameter(torch.randn(16 * BANDS, 12, 3, 3) * 0.1)
        self.b2 = nn.Parameter(torch.zeros(16 * BANDS))

    def forward(self, x):
        features = F.relu(F.conv2d(x, self.w1, self.b1, padding=1))
        return F.pixel_shuffle(F.conv2d(features, self.w2, self.b2, padding=1), 4)


class HandShuffle(nn.Module):
    """The pixel shuffle written out with view and permute."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(BANDS, 12)
        self.up = conv(12, 4 * BANDS)

    def forward(self, x):
        x = self.up(torch.relu(self.head(x)))
        n, channels, h, w = x.size()
        x = x.view(n, channels // 4, 2, 2, h, w)
        x = x.permute(0, 1, 4, 2, 5, 3).contiguous()
        return x.view(n, channels // 4, 2 * h, 2 * w)


class StandardisedConv(nn.Conv2d):
    """A convolution of the author's own: its kernels are standardised at every call."""

    def forward(self, x):
        mean = self.weight.mean(dim=(1, 2, 3), keepdim=True)
        std = self.weight.std(dim=(1, 2, 3), keepdim=True)
        return F.conv2d(x, 0.1 * (self.weight - mean) / std, self.bias, self.stride, self.padding)


class CustomConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = StandardisedConv(BANDS, 12, 3, padding=1)
        self.up = StandardisedConv(12, 4 * BANDS, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x):
        return self.shuffle(self.up(F.relu(self.head(x))))


class DataDependent(nn.Module):
    """What it does depends on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.bright = conv(BANDS, 12)
        self.dark = conv(BANDS, 12)
        self.up = conv(12, 4 * BANDS)

    def forward(self, x):
        x = self.bright(x) if x.mean() > 0.3 else self.dark(x)
        return F.pixel_shuffle(self.up(F.relu(x)), 2)


class DictOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = conv(BANDS, 12)
        self.up = conv(12, 4 * BANDS)

    def forward(self, x):
        features = F.relu(self.features(x))
        return {"features": features, "sr": F.pixel_shuffle(self.up(features), 2)}


class ScaleArgument(nn.Module):
    """One network for every scale; the caller says which. Has a *method* called scale."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(BANDS, 12)
        self.upsample = nn.ModuleDict({str(s): conv(12, s**2 * BANDS) for s in (2, 3, 4)})

    def scale(self):
        raise NotImplementedError

    def forward(self, x, scale):
        y = F.relu(self.head(x))
        return F.pixel_shuffle(self.upsample[str(int(scale))](y), int(scale))


class UNet(nn.Module):
    """Three times down and up again: height and width must be multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self.config, self.bands = "unet", {"depth": 3}, "all"
        self.encode = nn.ModuleList(conv(BANDS if i == 0 else 8, 8) for i in range(3))
        self.decode = nn.ModuleList(nn.ConvTranspose2d(8, 8, 2, stride=2) for _ in range(3))
        self.up = conv(8, 4 * BANDS)

    def forward(self, x):
        skips = []
        for layer in self.encode:
            x = F.relu(layer(x))
            skips.append(x)
            x = F.max_pool2d(x, 2)
        for layer in self.decode:
            x = layer(x) + skips.pop()
        return F.pixel_shuffle(self.up(x), 2)


class FourierNet(nn.Module):
    """A complex weight in the Fourier domain."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(BANDS, 8)
        self.spectral = nn.Parameter(0.1 * torch.randn(8, 8, dtype=torch.cfloat))
        self.register_buffer("phase", torch.polar(torch.ones(8), torch.linspace(0, 1, 8)))
        self.up = conv(8, 4 * BANDS)

    def forward(self, x):
        x = self.head(x)
        spectrum = torch.fft.rfft2(x) * self.phase.view(1, -1, 1, 1)
        mixed = torch.einsum("oc,nchw->nohw", self.spectral, spectrum)
        x = x + torch.fft.irfft2(mixed, s=x.shape[-2:])
        return F.pixel_shuffle(self.up(x), 2)


class Stateful(nn.Module):
    """State that is no parameter: a list, a counter, a buffer that is not saved, extra state."""

    def __init__(self) -> None:
        super().__init__()
        self.gains = [1.0, 1.0]
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("window", torch.ones(1, 1, 3, 3) / 9, persistent=False)
        self.norm = nn.BatchNorm2d(12)
        self.head = conv(BANDS, 12)
        self.up = conv(12, 4 * BANDS)

    def get_extra_state(self):
        return {"gains": self.gains}

    def set_extra_state(self, state):
        self.gains = state["gains"]

    def forward(self, x):
        self.calls += 1
        smooth = F.conv2d(x, self.window.expand(BANDS, 1, 3, 3), padding=1, groups=BANDS)
        x = self.norm(self.head(x)) * self.gains[0]
        y = F.pixel_shuffle(self.up(F.relu(x)), 2) * self.gains[1]
        return y + smooth.repeat_interleave(2, 2).repeat_interleave(2, 3)
