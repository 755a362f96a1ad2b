"""The tiles that quantising needs, and the quality of a network that is no torch module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn

from edgesr.cube import Scene
from edgesr.cube.cube import Window
from edgesr.evaluate import evaluate, super_resolve
from edgesr.metrics import mpsnr, sam
from edgesr.tiling import ALWAYS_WHOLE

CALIBRATION_TILES = 12
REFERENCE_TILES = 3  # real tiles that a board is verified on

Network = Callable[[np.ndarray], np.ndarray]
"""From an image [N, B, h, w] to [N, B, h r, w r], such as a session of a runtime."""


class Foreign(nn.Module):
    """A network of another runtime in the place of a torch module."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, lr: Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(self.network(lr.numpy()), np.float32))


def spread(windows: Sequence[Window], count: int) -> Sequence[Window]:
    """Return at most ``count`` of the windows, evenly spread."""
    return windows[:: max(1, len(windows) // count)][:count]


def calibration_tiles(scene: Scene) -> list[np.ndarray]:
    """Return real LR tiles [1, B, h, w] of training patches, which hold no nodata."""
    return [
        scene.pair(window)[0][None].numpy() for window in spread(scene.train, CALIBRATION_TILES)
    ]


def reference_tiles(scene: Scene) -> list[Tensor]:
    """Return a few real LR tiles [1, B, h, w], of training patches: test pixels stay here."""
    return [scene.pair(window)[0][None] for window in spread(scene.train, REFERENCE_TILES)]


def on_validation(scene: Scene) -> Callable[[Network], dict[str, float]]:
    """Return what measures "mpsnr" (dB) and "sam" (degrees) of a network on validation windows."""

    def quality(network: Network) -> dict[str, float]:
        foreign, scores = Foreign(network), []
        for lr, hr in scene.pairs("validation"):
            sr = super_resolve(foreign, lr, scale=scene.scale, tile=ALWAYS_WHOLE)[None]
            scores.append((float(mpsnr(sr, hr[None])), float(sam(sr, hr[None]))))
        psnr, angle = zip(*scores, strict=True)
        return {"mpsnr": fmean(psnr), "sam": fmean(angle)}

    return quality


def on_test(network: Network, scene: Scene) -> dict[str, float]:
    """The six metrics of a network on the test region."""
    return evaluate(Foreign(network), scene, tile=ALWAYS_WHOLE)
