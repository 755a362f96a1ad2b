"""The figures by which a training chooses its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edgesr.cube.memory import free_memory
from edgesr.errors import DataError
from edgesr.evaluation.evaluate import inference
from edgesr.evaluation.metrics import mpsnr, sam

if TYPE_CHECKING:
    from edgesr.cube.scene import Scene

CACHE_SHARE = 0.1
"""Share of the free memory that the validation windows may take; larger sets are read anew."""


class Validation:
    """MPSNR (dB) and SAM (degrees), averaged over the validation windows of a scene.

    ``before`` is called ahead of each measurement, when the weights to measure are in place.
    """

    def __init__(
        self,
        scene: Scene,
        device: torch.device,
        batch: int,
        before: Callable[[], object] | None = None,
    ) -> None:
        if not scene.validation:
            raise DataError(
                f"the scene {scene.cube.name!r} has no validation windows to choose weights by; "
                "use a larger validation share"
            )
        self.scene, self.device, self.batch, self.before = scene, device, batch, before
        pixels = sum(window.height * window.width for window in scene.validation)
        size = 4 * pixels * scene.cube.shape[2]
        self._kept: list[tuple[Tensor, Tensor]] | None = None
        if size < CACHE_SHARE * free_memory():
            self._kept = list(scene.pairs("validation"))

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        pairs = self.scene.pairs("validation") if self._kept is None else self._kept
        for _, alike in groupby(pairs, key=lambda pair: pair[1].shape):
            batch = []
            for pair in alike:
                batch.append(pair)
                if len(batch) == self.batch:
                    yield _stacked(batch)
                    batch = []
            if batch:
                yield _stacked(batch)

    def measure(
        self, model: nn.Module, autocast: Callable[[], AbstractContextManager[Any]]
    ) -> list[float]:
        """[MPSNR, SAM] of the model's present weights, run under ``autocast()``."""
        if self.before is not None:
            self.before()
        total = torch.zeros(2, dtype=torch.float64)
        windows = 0
        with inference(model):
            for lr, hr in self._batches():
                hr = hr.to(self.device)
                with autocast():
                    sr = model(lr.to(self.device))
                sr = sr.float().clamp(0, 1)
                total += len(hr) * torch.stack((mpsnr(sr, hr), sam(sr, hr))).cpu()
                windows += len(hr)
        return (total / windows).tolist()


def _stacked(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    lr, hr = zip(*pairs, strict=True)
    return torch.stack(lr), torch.stack(hr)
