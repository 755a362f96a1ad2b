"""Small attention and spectral networks as people outside write them; see ``third_party_conv``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from third_party_conv import BANDS, Upsampler, conv
from torch import nn


def window_partition(x, size):
    n, h, w, c = x.shape
    x = x.view(n, h // size, size, w // size, size, c)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, size * size, c)


def window_reverse(windows, size, h, w):
    n = int(windows.shape[0] / (h * w / size / size))
    x = windows.view(n, h // size, w // size, size, size, -1)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(n, h, w, -1)


class WindowAttention(nn.Module):
    """Self-attention within windows, with a relative position bias."""

    def __init__(self, dim, size, heads):
        super().__init__()
        self.size, self.heads, self.factor = size, heads, (dim // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.randn((2 * size - 1) ** 2, heads))
        rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        positions = torch.stack([rows.flatten(), columns.flatten()])
        relative = positions[:, :, None] - positions[:, None, :] + size - 1
        self.register_buffer("relative_position_index", relative[0] * (2 * size - 1) + relative[1])
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        n, tokens, c = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = (q * self.factor) @ k.transpose(-2, -1)
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        scores = scores + bias.view(tokens, tokens, -1).permute(2, 0, 1).unsqueeze(0)
        out = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, tokens, c)
        return self.proj(out)


class SwinBlock(nn.Module):
    def __init__(self, dim, size, shift):
        super().__init__()
        self.size, self.shift = size, shift
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, size, 2)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x, x_size):
        h, w = x_size
        n, _, c = x.shape
        shortcut = x
        x = self.norm1(x).view(n, h, w, c)
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = window_reverse(self.attn(window_partition(x, self.size)), self.size, h, w)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        x = shortcut + x.view(n, h * w, c)
        return x + self.mlp(self.norm2(x))


class SwinIR(nn.Module):
    """Window attention; ``upsampler`` is pixelshuffledirect (x2) or nearest+conv (x4).

    With ``pads`` it brings the image to whole windows itself, otherwise the caller must.
    """

    def __init__(self, upsampler, pads, dim=8, window_size=4):
        super().__init__()
        self.window_size, self.pads, self.upsampler = window_size, pads, upsampler
        self.upscale = 2 if upsampler == "pixelshuffledirect" else 4
        self.conv_first = conv(BANDS, dim)
        self.layers = nn.ModuleList(SwinBlock(dim, window_size, s) for s in (0, window_size // 2))
        self.norm = nn.LayerNorm(dim)
        self.conv_after_body = conv(dim, dim)
        if upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(conv(dim, 4 * BANDS), nn.PixelShuffle(2))
        else:
            self.conv_before_upsample = nn.Sequential(conv(dim, 8), nn.LeakyReLU(inplace=True))
            self.conv_up1, self.conv_up2 = conv(8, 8), conv(8, 8)
            self.conv_hr, self.conv_last = conv(8, 8), conv(8, BANDS)
            self.lrelu = nn.LeakyReLU(0.2, inplace=True)

    def check_image_size(self, x):
        _, _, h, w = x.size()
        size = self.window_size
        return F.pad(x, (0, (size - w % size) % size, 0, (size - h % size) % size), "reflect")

    def forward_features(self, x):
        h, w = x.shape[2:]
        tokens = x.flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens, (h, w))
        return self.norm(tokens).transpose(1, 2).reshape(x.shape)

    def forward(self, x):
        h, w = x.shape[2:]
        if self.pads:
            x = self.check_image_size(x)
        x = self.conv_first(x)
        x = self.conv_after_body(self.forward_features(x)) + x
        if self.upsampler == "pixelshuffledirect":
            x = self.upsample(x)
        else:
            x = self.conv_before_upsample(x)
            x = self.lrelu(self.conv_up1(F.interpolate(x, scale_factor=2, mode="nearest")))
            x = self.lrelu(self.conv_up2(F.interpolate(x, scale_factor=2, mode="nearest")))
            x = self.conv_last(self.lrelu(self.conv_hr(x)))
        return x[:, :, : h * self.upscale, : w * self.upscale]


class SpectralAttention(nn.Module):
    """Attention between channels: similar spectra attend to each other."""

    def __init__(self, dim):
        super().__init__()
        self.lnqkv = nn.Linear(dim, 3 * dim)
        self.ln = nn.Linear(dim, dim)

    def forward(self, x):
        n, c, h, w = x.shape
        q, k, v = self.lnqkv(x.flatten(2).transpose(1, 2)).chunk(3, -1)
        q, k = (F.normalize(t - t.mean(2, keepdim=True), dim=-1) ** 2 for t in (q, k))
        attended = v + q @ (k.transpose(1, 2) @ v) / (h * w) ** 0.5
        return self.ln(attended).transpose(1, 2).reshape(n, c, h, w)


class ESSAformer(nn.Module):
    """Iterative: up by shuffle, refine, down by strided convolution, and again."""

    def __init__(self, dim=12):
        super().__init__()
        self.conv_first = conv(BANDS, dim)
        self.up1 = nn.Sequential(conv(dim, 4 * dim), nn.PixelShuffle(2))
        self.down1 = nn.Conv2d(dim, dim, 3, stride=2, padding=1)
        self.up2 = nn.Sequential(conv(dim, 4 * dim), nn.PixelShuffle(2))
        self.blocks = nn.ModuleList(SpectralAttention(dim) for _ in range(2))
        self.conv_last = conv(dim, BANDS)

    def forward(self, x):
        features = self.conv_first(x)
        down = self.down1(self.blocks[0](self.up1(features)))
        out = self.conv_last(self.blocks[1](self.up2(down + features)))
        return out + F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)


class BranchUnit(nn.Module):
    def __init__(self, bands, features):
        super().__init__()
        self.head = conv(bands, features)
        self.body = nn.Sequential(conv(features, features), nn.ReLU(), conv(features, features))
        self.upsample = Upsampler(2, features)

    def forward(self, x):
        y = self.head(x)
        return self.upsample(y + self.body(y))


class SSPSR(nn.Module):
    """Overlapping groups of bands go through one shared branch; the rest of x4 is done after.

    ``forward(x, lms)``: lms is the bicubic enlargement of x, as the loader of its data makes it.
    """

    def __init__(self, n_subs=4, n_ovls=2, n_scale=4, features=8):
        super().__init__()
        self.start_idx, self.end_idx = [], []
        for start in range(0, BANDS - n_ovls, n_subs - n_ovls):
            end = min(start + n_subs, BANDS)
            self.start_idx.append(end - n_subs)
            self.end_idx.append(end)
        self.branch = BranchUnit(n_subs, features)
        self.branch_out = conv(features, n_subs)
        self.trunk = conv(BANDS, features)
        self.upsample = Upsampler(n_scale // 2, features)
        self.skip_conv = conv(BANDS, features)
        self.final = conv(features, BANDS)

    def forward(self, x, lms):
        n, c, h, w = x.shape
        y = torch.zeros(n, c, 2 * h, 2 * w, device=x.device)
        counter = torch.zeros(c, device=x.device)
        for start, end in zip(self.start_idx, self.end_idx, strict=True):
            y[:, start:end] += self.branch_out(self.branch(x[:, start:end]))
            counter[start:end] += 1
        y = y / counter.view(1, c, 1, 1)
        y = self.upsample(self.trunk(y))
        return self.final(y + self.skip_conv(lms))


class Deformable(nn.Module):
    """Each pixel is taken from where a learned offset points."""

    def __init__(self, dim):
        super().__init__()
        self.offset = conv(dim, 2)
        self.mix = conv(dim, dim, 1)

    def forward(self, x):
        h, w = x.shape[2:]
        ys = torch.linspace(-1, 1, h, device=x.device)
        xs = torch.linspace(-1, 1, w, device=x.device)
        grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], -1)
        grid = grid + 0.05 * torch.tanh(self.offset(x)).permute(0, 2, 3, 1)
        return self.mix(F.grid_sample(x, grid, align_corners=True))


class MSDformer(nn.Module):
    """A spectral transformer on displaced pixels; returns the image and what it is made of."""

    def __init__(self, dim=12):
        super().__init__()
        self.head = conv(BANDS, dim)
        self.deform = Deformable(dim)
        self.attention = SpectralAttention(dim)
        self.up = Upsampler(2, dim)
        self.tail = conv(dim, BANDS)

    def forward(self, x, x_up):
        features = self.head(x)
        features = features + self.attention(self.deform(features))
        residual = self.tail(self.up(features))
        return residual + x_up, residual, features
