from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgesr.cube.scene import Sample
from edgesr.errors import DataError, ModelError, OptionError
from edgesr.evaluation.evaluate import evaluate, evaluate_bicubic, super_resolve
from edgesr.evaluation.metrics import evaluate_pair


class LocalNet(nn.Module):
    """Looks 2 LR pixels around a pixel."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 12, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        return F.pixel_shuffle(self.second(self.first(lr).relu()), 2) * 0.3 + 0.5


class GlobalNet(nn.Module):
    """Adds the mean of all that it sees: every tile gets another offset."""

    def forward(self, lr: Tensor) -> Tensor:
        offset = lr.mean((2, 3), keepdim=True) / 2
        return F.interpolate(lr, scale_factor=2, mode="nearest") / 4 + offset


class Bicubic(nn.Module):
    def forward(self, lr: Tensor) -> Tensor:
        return F.interpolate(lr, scale_factor=2, mode="bicubic")


@settings(deadline=None, max_examples=15)
@given(
    height=st.integers(5, 40),
    width=st.integers(5, 40),
    overlap=st.integers(2, 4),
    extra=st.integers(1, 8),
)
def test_tiles_equal_one_pass_when_the_overlap_covers_the_receptive_field(
    height, width, overlap, extra
):
    net = LocalNet()
    lr = torch.rand(3, height, width)
    whole = super_resolve(net, lr, scale=2)
    tiled = super_resolve(net, lr, scale=2, tile=3 * overlap + extra, overlap=overlap)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)


def test_too_little_overlap_is_not_exact():
    lr = torch.rand(3, 30, 30)
    whole = super_resolve(LocalNet(), lr, scale=2)
    tiled = super_resolve(LocalNet(), lr, scale=2, tile=8, overlap=0)
    assert float((tiled - whole).abs().max()) > 1e-3


def runs(side: int, tile: int, fixed: bool = False) -> int:
    """How often a network runs for an image of ``side`` x ``side`` pixels."""
    net, calls = LocalNet(), []
    if fixed:
        net.fixed_size = (tile, tile)
    net.register_forward_pre_hook(lambda *_: calls.append(1))
    super_resolve(net, torch.rand(3, side, side), scale=2, tile=None if fixed else tile)
    return len(calls)


def test_tiles_that_are_recommended_see_every_pixel_a_few_times_at_most():
    assert runs(96, 48) * 48**2 <= 4 * 96**2
    for tile in (12, 16, 24, 32):  # a network that is fixed to them has no choice
        assert runs(96, tile, fixed=True) * tile**2 <= 6 * 96**2


def test_global_networks_show_no_seam():
    # brightness rises from left to right, so that neighbouring tiles have different means
    lr = torch.linspace(0, 1, 96).expand(1, 24, 96)
    tiled = super_resolve(GlobalNet(), lr, scale=2, tile=32, overlap=6)[0, 20]
    step_of_the_ramp = 1 / 95 / 4
    fade = 0.5 * 14 / 95 / 12  # offset between tiles 14 apart, over 12 HR pixels
    assert float(tiled.diff().abs().max()) <= step_of_the_ramp + 2 * fade
    hard = torch.cat(
        [super_resolve(GlobalNet(), lr[..., s : s + 32], scale=2)[0, 20] for s in (0, 32, 64)]
    )
    assert float(hard.diff().abs().max()) > 3 * float(tiled.diff().abs().max())


def test_the_result_is_clamped_and_the_mode_restored():
    net = nn.Sequential(Bicubic(), nn.Dropout(0.9))
    net.train()
    net[0].eval()
    lr = (torch.rand(2, 8, 8) > 0.5).float()
    sr = super_resolve(net, lr, scale=2)
    assert sr.shape == (2, 16, 16)
    assert float(sr.min()) == 0
    assert float(sr.max()) == 1
    assert net.training
    assert net[1].training
    assert not net[0].training
    assert not sr.requires_grad


def test_bad_requests_are_refused():
    lr = torch.rand(3, 20, 20)
    with pytest.raises(OptionError, match="use a tile of 48 or more"):
        super_resolve(LocalNet(), lr, scale=2, tile=24, overlap=8)
    with pytest.raises(OptionError, match="use a tile of 64 or more"):
        super_resolve(LocalNet(), lr, scale=2, tile=0, overlap=0)
    with pytest.raises(ModelError, match="scale 4"):
        super_resolve(LocalNet(), lr, scale=4)
    with pytest.raises(DataError, match="one image"):
        super_resolve(LocalNet(), lr[None], scale=2)


@dataclass
class Windows:
    """A scene of ready windows."""

    test: list[tuple[Tensor, Tensor]]
    scale: int = 2
    other: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def samples(self, split: str):
        for lr, hr in self.test if split == "test" else self.other:
            yield Sample(lr, hr, (slice(None), slice(None)))


def windows() -> Windows:
    torch.manual_seed(1)
    hrs = [F.interpolate(torch.rand(1, 3, 6, s), scale_factor=4, mode="bicubic") for s in (4, 9)]
    return Windows([(F.avg_pool2d(hr, 2)[0], hr[0].clamp(0, 1)) for hr in hrs])


def test_figures_are_averaged_over_the_windows():
    scene = windows()
    figures = evaluate(LocalNet(), scene)
    singles = [
        evaluate_pair(super_resolve(LocalNet(), lr, scale=2)[None], hr[None], 2)
        for lr, hr in scene.test
    ]
    assert set(figures) == {"mpsnr", "mssim", "sam", "cc", "rmse", "ergas"}
    for name, value in figures.items():
        assert value == pytest.approx((singles[0][name] + singles[1][name]) / 2)


def test_bicubic_is_what_a_bicubic_network_reads():
    scene = windows()
    for convention in ("standard", "dacn"):
        assert evaluate_bicubic(scene, convention=convention) == pytest.approx(
            evaluate(Bicubic(), scene, convention=convention)
        )


def test_tiles_do_not_change_the_figures_of_a_local_network():
    scene = windows()
    assert evaluate(LocalNet(), scene, tile=7, overlap=2) == pytest.approx(
        evaluate(LocalNet(), scene), rel=1e-5
    )


def test_a_split_without_windows_is_refused():
    with pytest.raises(DataError, match="no tuning windows"):
        evaluate_bicubic(windows(), "tuning")
