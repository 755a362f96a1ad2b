"""The figures by which a training chooses its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from edgesr.cube.memory import free_memory
from edgesr.errors import DataError
from edgesr.evaluation.evaluate import inference
from edgesr.evaluation.metrics import mpsnr, sam

if TYPE_CHECKING:
    from edgesr.cube.scene import Sample, Scene

CACHE_SHARE = 0.1
"""Share of the free memory that the tuning windows may take; larger sets are read anew."""


class Validation:
    """MPSNR (dB) and SAM (degrees), averaged over the tuning windows of a scene.

    ``before`` is called ahead of each measurement, when the weights to measure are in place.
    """

    def __init__(
        self,
        scene: Scene,
        device: torch.device,
        batch: int,
        before: Callable[[], object] | None = None,
    ) -> None:
        if not scene.tuning:
            raise DataError(
                f"the scene {scene.cube.name!r} has no tuning windows to choose weights by; "
                "use a larger tuning share"
            )
        self.scene, self.device, self.batch, self.before = scene, device, batch, before
        windows = [scene.surroundings.get(window, window) for window in scene.tuning]
        size = 4 * sum(window.pixels for window in windows) * scene.cube.shape[2]
        self._kept: list[Sample] | None = None
        if size < CACHE_SHARE * free_memory():
            self._kept = list(scene.samples("tuning"))

    def _batches(self) -> Iterator[list[Sample]]:
        samples = self.scene.samples("tuning") if self._kept is None else self._kept
        for _, alike in groupby(samples, key=lambda sample: sample.lr.shape):
            yield from batched(alike, self.batch)

    def measure(
        self, model: nn.Module, autocast: Callable[[], AbstractContextManager[Any]]
    ) -> list[float]:
        """[MPSNR, SAM] of the model's present weights, run under ``autocast()``."""
        if self.before is not None:
            self.before()
        total = torch.zeros(2, dtype=torch.float64)
        windows = 0
        with inference(model):
            for samples in self._batches():
                lr = torch.stack([sample.lr for sample in samples])
                with autocast():
                    batch = model(lr.to(self.device)).float().clamp(0, 1)
                for sample, whole in zip(samples, batch, strict=True):
                    sr, hr = sample.cut(whole)[None], sample.hr[None].to(self.device)
                    total += torch.stack((mpsnr(sr, hr), sam(sr, hr))).cpu()
                windows += len(samples)
        return (total / windows).tolist()


def batched(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    """Lists of at most ``size`` samples."""
    rest = iter(samples)
    while batch := list(islice(rest, size)):
        yield batch
