"""Classes and functions whose text the loader beside a student carries; they need torch alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SharedFactor(nn.Module):
    """A layer behind a 1 x 1 convolution that belongs to another one, which holds its weights."""

    def __init__(self, reduce: nn.Module, expand: nn.Module) -> None:
        super().__init__()
        self.reduce_of_other = (reduce,)  # in a tuple, it is not registered twice
        self.expand = expand

    def forward(self, x: Tensor) -> Tensor:
        return self.expand(self.reduce_of_other[0](x))


def tiles_along(length: int, side: int) -> int:
    """How many tiles of a side, each a quarter over the next, cover a length."""
    return max(1, -(-(length - side // 4) // (side - side // 4)))


def cut(x: Tensor, side: int) -> Tensor:
    """An image [N, B, h, w] of any size as tiles [N n m, B, side, side], a quarter over the next.

    The image goes on as its last row and column where the last tiles need more.
    """
    fade, step = side // 4, side - side // 4
    bands, height, width = x.shape[1:]
    rows, columns = tiles_along(height, side), tiles_along(width, side)
    missing = (0, (columns + 1) * step - width, 0, (rows + 1) * step - height)
    x = F.pad(x, missing, mode="replicate").unflatten(3, (columns + 1, step))
    x = torch.cat([x[:, :, :, :-1], x[:, :, :, 1:, :fade]], 4).unflatten(2, (rows + 1, step))
    x = torch.cat([x[:, :, :-1], x[:, :, 1:, :fade]], 3)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(-1, bands, side, side)


def join(tiles: Tensor, height: int, width: int, side: int, scale: int) -> Tensor:
    """What :func:`cut` made, enlarged by a network, as one image [N, B, h r, w r].

    Where tiles overlap, one fades into the next.
    """
    rows, columns = tiles_along(height, side), tiles_along(width, side)
    x = tiles.unflatten(0, (-1, rows, columns)).permute(0, 3, 1, 4, 2, 5)
    fade = side // 4 * scale
    x = faded(faded(x, fade).permute(0, 1, 4, 2, 3), fade).transpose(2, 3)
    return x[:, :, : height * scale, : width * scale]


def faded(x: Tensor, fade: int) -> Tensor:
    """Pieces [..., n, s], each ``fade`` over the next, as one [..., length]."""
    step = x.shape[-1] - fade
    ends = x[..., step:]
    before = torch.cat([x[..., :1, :fade], ends[..., :-1, :]], -2)  # the first has none
    rise = (torch.arange(fade, dtype=x.dtype, device=x.device) + 0.5) / fade
    start = before + rise * (x[..., :fade] - before)
    whole = torch.cat([start, x[..., fade:step]], -1).flatten(-2)
    return torch.cat([whole, ends[..., -1, :]], -1)
