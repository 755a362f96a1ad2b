"""The eight symmetries of the square, for training patches."""

from __future__ import annotations

import torch
from torch import Tensor

SYMMETRIES = 8


def augment(lr: Tensor, hr: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Turn a pair [..., h, w], [..., H, W] by symmetry ``k`` (0 = as it is).

    k modulo 4 counts quarter turns; k modulo 8 of 4 and above mirrors the columns afterwards.
    """
    return _symmetry(lr, k), _symmetry(hr, k)


def _symmetry(image: Tensor, k: int) -> Tensor:
    turned = torch.rot90(image, k % 4, dims=(-2, -1))
    return turned.flip(-1) if k % SYMMETRIES >= 4 else turned
