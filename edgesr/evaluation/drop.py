"""What a network loses against another, block by block, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from edgesr.errors import DataError
from edgesr.evaluation.evaluate import super_resolve
from edgesr.evaluation.interval import CONFIDENCE, interval
from edgesr.evaluation.metrics import psnr, sam

if TYPE_CHECKING:
    from edgesr.cube.scene import Scene


@dataclass(frozen=True)
class BlockFigures:
    """Quality of a network on each window of a role.

    Attributes:
        psnr: [windows, bands] in dB.
        sam: [windows] in degrees.
    """

    psnr: np.ndarray
    sam: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[BlockFigures]) -> BlockFigures:
        """Those of all windows of ``parts``, one after the other."""
        return cls(
            np.concatenate([one.psnr for one in parts]), np.concatenate([one.sam for one in parts])
        )


def block_figures(
    model: nn.Module, scene: Scene, split: str = "budget", *, tile: int | None = None
) -> BlockFigures:
    """Measure a network on every window of ``split``; ``tile`` as :func:`super_resolve` has it.

    Raises:
        DataError: the scene has no such windows.
    """
    found = []
    for sample in scene.samples(split):
        sr = sample.cut(super_resolve(model, sample.lr, scale=scene.scale, tile=tile))[None]
        hr = sample.hr[None]
        found.append((psnr(sr, hr)[0].numpy(), float(sam(sr, hr))))
    if not found:
        raise DataError(
            f"the scene has no {split} windows to measure a drop on; choose another protocol"
        )
    by_band, angles = zip(*found, strict=True)
    return BlockFigures(np.stack(by_band), np.asarray(angles))


def drop_between(
    before: BlockFigures, after: BlockFigures, confidence: float = CONFIDENCE
) -> dict[str, float]:
    """What is lost from ``before`` to ``after``; positive is worse.

    Args:
        before: of the reference.
        after: of the student, on the same windows.
        confidence: of the intervals in per cent; 0 leaves them out, as a single window does.

    Returns:
        "psnr_drop" [dB] and "sam_drop" [degrees], means over windows; with intervals also
        "psnr_low", "psnr_high", "sam_low" and "sam_high", their ends.
    """
    losses = {"psnr": before.psnr - after.psnr, "sam": after.sam - before.sam}
    found = {f"{name}_drop": float(loss.mean()) for name, loss in losses.items()}
    for name, loss in losses.items():
        if (ends := interval(loss, confidence)) is not None:
            found[f"{name}_low"], found[f"{name}_high"] = ends
    return found


def interval_of(drop: Mapping[str, float]) -> dict[str, float]:
    """The ends of the intervals alone, by name."""
    return {name: value for name, value in drop.items() if not name.endswith("_drop")}


def worst(drop: Mapping[str, float], name: str) -> float:
    """The upper end of the interval of ``name``, "psnr" or "sam"; the drop itself without one."""
    return drop.get(f"{name}_high", drop[f"{name}_drop"])
