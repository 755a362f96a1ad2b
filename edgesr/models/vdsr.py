"""VDSR in the light form whose counts the LKCA-Net paper tabulates.

The form is inferred from Tables V to VII: the network runs at LR size and its last conv feeds a
PixelShuffle, instead of running on the enlarged image as Kim et al. (2016) did. The table's Houston
x4 row has the figures of VDSR and 3DFCNN swapped.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from edgesr.models._parts import bicubic_skip, check_whole
from edgesr.models._registry import register

NAME = "vdsr"
WIDTH = 64
HIDDEN_LAYERS = 18


@register(NAME)
class VDSR(nn.Module):
    """Twenty 3x3 convs without biases, ReLU between, PixelShuffle, plus the bicubic skip.

    Args:
        bands: spectral bands B of input and output.
        scale: magnification r, at least 2.

    Shapes:
        forward: [N, B, h, w] -> [N, B, h*r, w*r].

    Raises:
        ModelError: an option out of range.
    """

    name = NAME

    def __init__(self, bands: int, scale: int = 4) -> None:
        super().__init__()
        check_whole(NAME, "bands", bands, 1)
        check_whole(NAME, "scale", scale, 2)
        self.config: dict[str, Any] = {"bands": bands, "scale": scale}
        self.bands = bands
        self.scale = scale
        widths = [bands, *[WIDTH] * (HIDDEN_LAYERS + 1)]
        layers: list[nn.Module] = []
        for entering, leaving in pairwise(widths):
            layers += [nn.Conv2d(entering, leaving, 3, padding=1, bias=False), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.upsampler = nn.Conv2d(WIDTH, bands * scale**2, 3, padding=1, bias=False)
        nn.init.normal_(self.upsampler.weight, std=1e-3)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, lr: Tensor) -> Tensor:
        return self.shuffle(self.upsampler(self.body(lr))) + bicubic_skip(lr, self.scale)
