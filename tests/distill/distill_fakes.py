"""Small generated scenes and networks, quick enough to train in a test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgesr.cube.cube import Cube, Window
from edgesr.cube.degrade import degrade
from edgesr.cube.normalise import Normalisation
from edgesr.cube.scene import Sample


@dataclass(frozen=True)
class SmallScene:
    """What training reads of a scene."""

    cube: Cube
    train: tuple[Window, ...]
    tuning: tuple[Window, ...]
    budget: tuple[Window, ...]
    test: tuple[Window, ...]
    train_regions: tuple[Window, ...] = ()
    scale: int = 2
    degradation: str = "bicubic"
    protocol: str = "generated"
    surroundings: Mapping[Window, Window] = field(default_factory=dict)

    @property
    def normalisation(self) -> Normalisation:
        bands = self.cube.data.shape[2]
        return Normalisation("scene", np.zeros(bands), np.full(bands, 1000.0))

    def samples(self, split: str) -> Iterator[Sample]:
        for window in getattr(self, split):
            yield Sample(*self.pair(window), Window(0, 0, window.height, window.width).slices)

    def pair(self, window: Window) -> tuple[Tensor, Tensor]:
        crop = self.normalisation.apply(self.cube.data[window.slices])
        hr = torch.from_numpy(crop).permute(2, 0, 1)
        return degrade(hr[None], self.scale, self.degradation)[0], hr


def scene(
    *, bands: int = 3, seed: int = 0, regions: bool = False, mask: np.ndarray | None = None, **other
) -> SmallScene:
    """Smooth random cube 48 x 32: train above (5 windows of 16), the others below."""
    random = np.random.default_rng(seed)
    coarse = torch.from_numpy(random.uniform(0, 1000, (1, bands, 13, 9)))
    image = F.interpolate(coarse, (48, 32), mode="bicubic")[0].clamp(0, 1000)
    cube = Cube(
        data=image.permute(1, 2, 0).contiguous().numpy(),
        name=f"generated {seed}",
        wavelengths=None,
        fwhm=None,
        bad_bands=None,
        nodata=None,
        mask=mask,
        crs=None,
        transform=None,
        source="generated",
    )
    train = [Window(row, col, 16, 16) for row in (0, 16) for col in (0, 16)]
    return SmallScene(
        cube,
        train=(*train, Window(8, 8, 16, 16)),
        tuning=(Window(32, 0, 16, 16),),
        budget=(Window(32, 0, 16, 16),),
        test=(Window(32, 16, 16, 16),),
        **{"train_regions": (Window(0, 0, 32, 32),) if regions else (), **other},
    )


class SmallNet(nn.Module):
    """Two convs and a pixel shuffle on top of bicubic upsampling, like LKCA-Net in small."""

    def __init__(self, bands: int = 3, width: int = 8, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.head = nn.Conv2d(bands, width, 3, padding=1)
            self.dropout = nn.Dropout(dropout)
            self.unused = nn.Parameter(torch.ones(2))
            self.upsampler = nn.Conv2d(width, bands * 4, 3, padding=1)
            nn.init.normal_(self.upsampler.weight, std=1e-2)
            nn.init.zeros_(self.upsampler.bias)

    def forward(self, lr: Tensor) -> Tensor:
        detail = F.pixel_shuffle(self.upsampler(self.dropout(F.gelu(self.head(lr)))), 2)
        return detail + F.interpolate(lr, scale_factor=2, mode="bicubic")


SITE = SimpleNamespace(name="upsampler", layers=("upsampler",), kind="subpixel", scale=2)
