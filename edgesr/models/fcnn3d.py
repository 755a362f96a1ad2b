"""3D-FCNN in the light form whose counts the LKCA-Net paper tabulates.

The figures of Tables V to VII fit 3-D convs that take the B bands as channels of a volume of depth
1, and that feed a PixelShuffle; Mei et al. (2017) convolved along the bands of the enlarged cube.
The table's Houston x4 row has the figures of VDSR and 3DFCNN swapped.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from edgesr.models._parts import bicubic_skip, check_whole
from edgesr.models._registry import register

NAME = "3dfcnn"


@register(NAME)
class FCNN3D(nn.Module):
    """Conv3d 3x9x9 to 64, 1x1x1 to 32, 1x1x1 to 9, 3x5x5 to B*r^2; PixelShuffle; bicubic skip.

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
        self.body = nn.Sequential(
            nn.Conv3d(bands, 64, (3, 9, 9), padding=(1, 4, 4)),
            nn.ReLU(),
            nn.Conv3d(64, 32, 1),
            nn.ReLU(),
            nn.Conv3d(32, 9, 1),
            nn.ReLU(),
        )
        self.upsampler = nn.Conv3d(9, bands * scale**2, (3, 5, 5), padding=(1, 2, 2))
        nn.init.normal_(self.upsampler.weight, std=1e-3)
        nn.init.zeros_(self.upsampler.bias)  # type: ignore[arg-type]
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, lr: Tensor) -> Tensor:
        volume = self.upsampler(self.body(lr.unsqueeze(2)))
        return self.shuffle(volume.squeeze(2)) + bicubic_skip(lr, self.scale)
