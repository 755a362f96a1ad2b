"""What is lost block by block, against sums by hand and the figures of whole windows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from edgesr.cube.scene import Sample
from edgesr.errors import DataError
from edgesr.evaluation.drop import block_figures, drop_between, interval_of, worst
from edgesr.evaluation.evaluate import evaluate


class Offset(nn.Module):
    """Nearest neighbours, and a constant too much."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        return lr.repeat_interleave(2, 2).repeat_interleave(2, 3) + self.offset


def scene(blocks: int = 6, bands: int = 3) -> SimpleNamespace:
    """Smooth blocks of 16 x 16, each seen with 4 pixels around it."""
    torch.manual_seed(0)
    wide = [torch.rand(bands, 12, 12) / 2 + 0.2 for _ in range(blocks)]
    place = (slice(4, 20), slice(4, 20))
    samples = [
        Sample(lr, Offset(0)(lr[None])[0][:, place[0], place[1]] + 0.01 * (i + 1), place)
        for i, lr in enumerate(wide)
    ]
    return SimpleNamespace(scale=2, samples=lambda split: samples if split == "budget" else [])


def test_figures_are_those_of_each_block_alone():
    figures = block_figures(Offset(0), scene())
    assert figures.psnr.shape == (6, 3)
    errors = 0.01 * np.arange(1, 7)
    np.testing.assert_allclose(
        figures.psnr, np.repeat(-20 * np.log10(errors)[:, None], 3, 1), rtol=1e-5
    )
    whole = evaluate(Offset(0), scene(), "budget")
    assert figures.psnr.mean() == pytest.approx(whole["mpsnr"])
    assert figures.sam.mean() == pytest.approx(whole["sam"])


def test_a_drop_is_the_mean_over_blocks_with_the_ends_of_its_interval():
    before, after = (block_figures(Offset(by), scene()) for by in (0, -0.005))
    drop = drop_between(before, after)
    errors = 0.01 * np.arange(1, 7)
    each = 20 * np.log10((errors + 0.005) / errors)
    assert drop["psnr_drop"] == pytest.approx(each.mean(), rel=1e-4)
    assert each.min() - 1e-4 <= drop["psnr_low"] < drop["psnr_drop"] < drop["psnr_high"]
    assert drop["psnr_high"] <= each.max() + 1e-4
    assert worst(drop, "psnr") == drop["psnr_high"]
    assert set(interval_of(drop)) == {"psnr_low", "psnr_high", "sam_low", "sam_high"}


def test_no_confidence_and_a_single_block_have_no_interval():
    before, after = (block_figures(Offset(by), scene()) for by in (0, -0.005))
    drop = drop_between(before, after, 0)
    assert set(drop) == {"psnr_drop", "sam_drop"}
    assert worst(drop, "psnr") == drop["psnr_drop"]
    before, after = (block_figures(Offset(by), scene(1)) for by in (0, -0.005))
    assert interval_of(drop_between(before, after)) == {}


def test_a_scene_without_budget_is_refused():
    with pytest.raises(DataError, match="no tuning windows to measure a drop on"):
        block_figures(Offset(0), scene(), "tuning")
