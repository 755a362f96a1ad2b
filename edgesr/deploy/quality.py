"""The tiles that quantising needs, and the quality of a network that is no torch module."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from edgesr_export.sizes import FREE, Shape, fit
from torch import Tensor, nn

from edgesr.cube import Scene
from edgesr.cube.cube import Window
from edgesr.evaluation.drop import block_figures
from edgesr.evaluation.evaluate import evaluate
from edgesr.evaluation.tiling import ALWAYS_WHOLE

CALIBRATION_TILES = 12
REFERENCE_TILES = 3  # real tiles that a board is verified on

Network = Callable[[np.ndarray], np.ndarray]
"""From an image [N, B, h, w] to [N, B, h r, w r], such as a session of a runtime."""


class SessionModule(nn.Module):
    """A network of another runtime in the place of a torch module.

    Attributes:
        fixed_size: the only LR (height, width) that it takes; None where it takes any.
        bands: that it takes; None where its file does not say.
    """

    def __init__(self, network: Network, shape: Shape = FREE) -> None:
        super().__init__()
        self.network = network
        self.fixed_size = None if None in shape[2:] else shape[2:]
        self.bands = shape[1]

    def forward(self, lr: Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(self.network(lr.numpy()), np.float32))


def spread(windows: Sequence[Window], count: int) -> Sequence[Window]:
    """Return at most ``count`` of the windows, evenly spread."""
    return windows[:: max(1, len(windows) // count)][:count]


def calibration_tiles(scene: Scene, shape: Shape = FREE) -> list[np.ndarray]:
    """Return real LR tiles [1, B, h, w] of training patches, which hold no nodata.

    ``shape`` is the input of the file that will take them.
    """
    windows = spread(scene.train, CALIBRATION_TILES)
    return [fit(scene.pair(window)[0][None], shape).numpy() for window in windows]


def reference_tiles(scene: Scene, shape: Shape = FREE) -> list[Tensor]:
    """Return a few real LR tiles [1, B, h, w], of training patches: test pixels stay here."""
    windows = spread(scene.train, REFERENCE_TILES)
    return [fit(scene.pair(window)[0][None], shape) for window in windows]


def on_budget(scene: Scene, shape: Shape = FREE) -> Callable[[Network], dict[str, np.ndarray]]:
    """Return what measures a network on budget windows.

    It answers "mpsnr" [windows, bands] in dB and "sam" [windows] in degrees. ``shape`` is the input
    that the network takes.
    """

    def quality(network: Network) -> dict[str, np.ndarray]:
        found = block_figures(SessionModule(network, shape), scene, tile=ALWAYS_WHOLE)
        return {"mpsnr": found.psnr, "sam": found.sam}

    return quality


def on_test(network: Network, scene: Scene, shape: Shape = FREE) -> dict[str, float]:
    """The six metrics of a network, which takes inputs of ``shape``, on the test region."""
    return evaluate(SessionModule(network, shape), scene, tile=ALWAYS_WHOLE)
