"""Random training patches from scenes, the same ones for the same seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from edgesr.cube.degrade import degrade
from edgesr.cube.memory import free_memory
from edgesr.errors import DataError

if TYPE_CHECKING:
    from edgesr.cube.scene import Scene

CACHE_SHARE = 0.4
"""Share of the free memory that normalised scenes may take."""

ATTEMPTS = 50
"""Random positions tried before a patch without nodata is taken from the fixed ones."""


class Patch(NamedTuple):
    """One training patch: index of its scene, HR position, and one of 8 flips and rotations."""

    scene: int
    row: int
    column: int
    turn: int


def _turned(patch: Tensor, turn: int) -> Tensor:
    """One of the 8 flips and rotations of a patch [H, W, B]."""
    patch = patch.rot90(turn % 4, (0, 1))
    return patch.flip(1) if turn >= 4 else patch


class _Places:
    """Where patches of one scene may lie."""

    def __init__(self, scene: Scene, side: int, jitter: bool) -> None:
        self.fixed = [(window.row, window.col) for window in scene.train]
        self.side = side
        self.mask = scene.cube.mask
        regions = scene.train_regions if jitter else ()
        self.regions = [r for r in regions if r.height >= side and r.width >= side]
        free = [(r.height - side + 1) * (r.width - side + 1) for r in self.regions]
        self.weights = np.asarray(free) / sum(free) if free else None

    def _clean(self, row: int, column: int) -> bool:
        if self.mask is None:
            return True
        return not self.mask[row : row + self.side, column : column + self.side].any()

    def stream(self, random: np.random.Generator) -> Iterator[tuple[int, int]]:
        """Endless positions: random inside the regions, else the fixed ones in random order."""
        while not self.regions:
            for index in random.permutation(len(self.fixed)):
                yield self.fixed[index]
        while True:
            for _ in range(ATTEMPTS):
                region = self.regions[random.choice(len(self.regions), p=self.weights)]
                row = region.row + int(random.integers(region.height - self.side + 1))
                column = region.col + int(random.integers(region.width - self.side + 1))
                if self._clean(row, column):
                    break
            else:
                row, column = self.fixed[random.integers(len(self.fixed))]
            yield row, column


class PatchSampler:
    """Plans and cuts the training batches of several scenes; the first one is the target.

    Normalised scenes are kept in memory as long as they fit, on ``device`` when it has room, and
    are otherwise read window by window.
    """

    def __init__(self, scenes: Sequence[Scene], device: torch.device, *, jitter: bool) -> None:
        _check_alike(scenes)
        self.scenes = tuple(scenes)
        self.device = device
        self.side = scenes[0].train[0].height
        self._places = [_Places(scene, self.side, jitter) for scene in scenes]
        self._cache = [self._normalised(scene) for scene in scenes]

    @property
    def windows(self) -> int:
        """Number of training windows of all scenes."""
        return sum(len(scene.train) for scene in self.scenes)

    def _normalised(self, scene: Scene) -> Tensor | None:
        size = 4 * int(np.prod(scene.cube.data.shape))
        if size > CACHE_SHARE * free_memory():
            return None
        data = torch.empty(scene.cube.data.shape)
        for row in range(0, len(data), self.side):
            rows = slice(row, row + self.side)
            data[rows] = torch.from_numpy(scene.normalisation.apply(scene.cube.data[rows]))
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if size < CACHE_SHARE * free:
                return data.to(self.device)
        return data

    def plan(
        self, seed: int, epoch: int, steps: int, batch: int, *, others: float
    ) -> Iterator[list[Patch]]:
        """The patches of every step of an epoch; ``others`` is the share not from the target."""
        random = np.random.default_rng([seed, epoch])
        streams = [places.stream(random) for places in self._places]
        foreign = round(batch * others) if len(self.scenes) > 1 else 0
        sizes = np.asarray([len(scene.train) for scene in self.scenes[1:]], dtype=float)
        for _ in range(steps):
            chosen = [0] * (batch - foreign)
            if foreign:
                drawn = random.choice(len(sizes), foreign, p=sizes / sizes.sum())
                chosen += [1 + int(index) for index in drawn]
            random.shuffle(chosen)
            yield [Patch(s, *next(streams[s]), int(random.integers(8))) for s in chosen]

    def _cut(self, patch: Patch) -> Tensor:
        scene, cached = self.scenes[patch.scene], self._cache[patch.scene]
        rows = slice(patch.row, patch.row + self.side)
        columns = slice(patch.column, patch.column + self.side)
        if cached is not None:
            return _turned(cached[rows, columns], patch.turn)
        window = np.ascontiguousarray(scene.cube.data[rows, columns])
        return _turned(torch.from_numpy(scene.normalisation.apply(window)), patch.turn)

    def load(self, patches: Sequence[Patch]) -> tuple[Tensor, Tensor]:
        """LR [N, B, h, w] and HR [N, B, H, W] in [0, 1], on the device, in channels-last order."""
        hr = torch.stack([self._cut(patch).to(self.device) for patch in patches])
        hr = hr.permute(0, 3, 1, 2)
        scale = self.scenes[0].scale
        methods = [self.scenes[patch.scene].degradation for patch in patches]
        if len(set(methods)) == 1:
            return degrade(hr, scale, methods[0]).clamp(0, 1), hr
        lr = [degrade(hr[i : i + 1], scale, method) for i, method in enumerate(methods)]
        return torch.cat(lr).clamp(0, 1), hr


def _check_alike(scenes: Sequence[Scene]) -> None:
    """All scenes must have training windows of one size, and the same bands and scale."""
    if not scenes:
        raise DataError("training needs at least one scene, received none")
    for scene in scenes:
        if not scene.train:
            raise DataError(
                f"the scene {scene.cube.name!r} has no training windows; "
                "use a larger cube or a smaller patch"
            )
    first = scenes[0]
    for scene in scenes:
        for window in scene.train:
            if window.height != window.width or window.height != first.train[0].height:
                raise DataError(
                    f"training windows must be squares of one size, received {window.height} x "
                    f"{window.width} in {scene.cube.name!r} beside {first.train[0].height}; "
                    "use one --patch for all scenes"
                )
        if scene.scale != first.scale or scene.cube.shape[2] != first.cube.shape[2]:
            raise DataError(
                f"the scene {scene.cube.name!r} has {scene.cube.shape[2]} bands at scale "
                f"{scene.scale}, the target has {first.cube.shape[2]} at {first.scale}; "
                "select the same bands and scale for all scenes"
            )
