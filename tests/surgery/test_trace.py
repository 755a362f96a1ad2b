"""Pixel shuffles in every hand, and movements of data that are none."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgesr.surgery import grouped, lowrank
from edgesr.surgery.sites import find_sites


class Up(nn.Module):
    """A convolution, and what ``shuffle`` makes of its output."""

    def __init__(self, shuffle, up=None):
        super().__init__()
        self.up = up or nn.Conv2d(6, 24, 3, padding=1)
        self.shuffle = shuffle

    def forward(self, x):
        return self.shuffle(self.up(x))


def by_view(x):
    n, c, h, w = x.shape
    y = x.view(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).contiguous()
    return y.view(n, c // 4, 2 * h, 2 * w)


def phases_first(x):
    """``(s1 s2 c)``, the order of TensorFlow's depth_to_space."""
    n, c, h, w = x.shape
    y = x.reshape(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(n, c // 4, 2 * h, 2 * w)


def one_axis_after_the_other(x):
    n, c, h, w = x.shape
    y = x.permute(0, 2, 3, 1).reshape(n, h, 2 * w, c // 2).transpose(1, 2)
    return y.reshape(n, 2 * w, 2 * h, c // 4).permute(0, 3, 2, 1)


def from_tokens(x):
    """Tokens [N, h*w, C], normalised, then back and shuffled."""
    n, c, h, w = x.shape
    y = F.layer_norm(x.flatten(2).transpose(1, 2), (c,))
    return F.pixel_shuffle(y.transpose(1, 2).view(n, c, h, w), 2)


def by_fold(x):
    h, w = x.shape[2:]
    return F.fold(x.flatten(2), (2 * h, 2 * w), kernel_size=2, stride=2)


SHUFFLES = {
    "view": by_view,
    "phases first": phases_first,
    "axis by axis": one_axis_after_the_other,
    "tokens": from_tokens,
    "fold": by_fold,
    "operator": lambda x: torch.ops.aten.pixel_shuffle(x, 2),
    "overload": lambda x: torch.ops.aten.pixel_shuffle.default(x, 2),
    "module": nn.PixelShuffle(2),
    "gated": lambda x: F.pixel_shuffle(x * torch.sigmoid(x.mean((2, 3), keepdim=True)), 2),
    "halves": lambda x: F.pixel_shuffle(torch.mul(*x.chunk(2, 1)), 2),
    "sliced": lambda x: by_view(x[:, :12]),
    "sequential": nn.Sequential(nn.BatchNorm2d(24), nn.PReLU(24), nn.PixelShuffle(2), nn.Tanh()),
}


@pytest.mark.parametrize("kind", SHUFFLES)
def test_every_way_to_write_a_shuffle_is_found(kind):
    torch.manual_seed(0)
    model = Up(SHUFFLES[kind]).eval()
    x = torch.rand(2, 6, 5, 7)
    assert model(x).shape[-2:] == (10, 14)
    [site] = find_sites(model, x)
    assert (site.layers, site.kind, site.scale) == (("up",), "subpixel", 2)


@pytest.mark.parametrize("kind", ["view", "phases first", "axis by axis"])
@torch.no_grad()
def test_surgery_before_a_hand_written_shuffle(kind):
    """Full rank is the network itself; groups keep the order of the channels, whatever it is."""
    torch.manual_seed(0)
    model, x = Up(SHUFFLES[kind]).eval(), torch.rand(2, 6, 5, 7)
    [site] = find_sites(model, x)
    full, _ = lowrank(model, site, site.max_rank)
    torch.testing.assert_close(full(x), model(x), atol=1e-5, rtol=0)
    student, _ = grouped(model, site, 2)
    kept = torch.zeros_like(model.up.weight)
    kept[:12, :3], kept[12:, 3:] = model.up.weight[:12, :3], model.up.weight[12:, 3:]
    expected = model.shuffle(F.conv2d(x, kept, model.up.bias, padding=1))
    torch.testing.assert_close(student(x), expected, atol=1e-5, rtol=0)


def merged_windows(x):
    """Windows of a batch put side by side: every pixel stays one position of one window."""
    n, c, h, w = x.shape
    y = x.view(n // 4, 2, 2, c, h, w).permute(0, 3, 1, 4, 2, 5)
    return y.reshape(n // 4, c, 2 * h, 2 * w)


def merged_grid(x):
    """Sub-lattices of an image interleaved: a block comes from several images of the batch."""
    n, c, h, w = x.shape
    y = x.view(n // 4, 2, 2, c, h, w).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(n // 4, c, 2 * h, 2 * w)


NO_SHUFFLES = {
    "merged windows": merged_windows,
    "merged grid": merged_grid,
    "rows of channels": lambda x: x.reshape(x.shape[0], 6, 2 * x.shape[2], 2 * x.shape[3]),
    "unshuffled": lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2),
    "enlarged by copies": lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3),
}


@pytest.mark.parametrize("kind", NO_SHUFFLES)
def test_other_movements_are_no_shuffle(kind):
    assert find_sites(Up(NO_SHUFFLES[kind]), torch.rand(4, 6, 8, 10)) == []


def test_shape_of_another_tensor_is_no_movement_of_it():
    def borrow(y):
        return by_view(torch.rand(y.numel()).view_as(y))

    assert find_sites(Up(borrow), torch.rand(1, 6, 4, 4)) == []


def test_volumes_are_shuffled_plane_by_plane():
    def shuffle(x):
        n, c, d, h, w = x.shape
        y = x.view(n, c // 4, 2, 2, d, h, w).permute(0, 1, 4, 5, 2, 6, 3)
        return y.reshape(n, c // 4, d, 2 * h, 2 * w)

    [site] = find_sites(Up(shuffle, nn.Conv3d(6, 24, 3, padding=1)), torch.rand(1, 6, 3, 4, 5))
    assert (site.kind, site.scale, site.kernel) == ("subpixel", 2, (3, 3, 3))


def test_bands_in_the_batch_are_shuffled_one_by_one():
    def shuffle(y):
        n, _, h, w = y.shape
        y = y.view(n // 3, 3, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
        return y.reshape(n // 3, 3, 2 * h, 2 * w)

    [site] = find_sites(Up(shuffle, nn.Conv2d(1, 4, 3, padding=1)), torch.rand(6, 1, 4, 5))
    assert (site.kind, site.scale) == ("subpixel", 2)


@torch.no_grad()
def test_parallel_convolutions_before_one_shuffle_are_a_site_each():
    class Parallel(nn.Module):
        def __init__(self):
            super().__init__()
            self.fine = nn.Conv2d(6, 12, 1)
            self.coarse = nn.Conv2d(6, 12, 3, padding=1)

        def forward(self, x):
            return F.pixel_shuffle(torch.cat([self.fine(x), torch.relu(self.coarse(x))], 1), 2)

    model, x = Parallel(), torch.rand(1, 6, 4, 5)
    sites = find_sites(model, x)
    assert [(s.layers, s.kind, s.scale) for s in sites] == [
        (("fine",), "subpixel", 2),
        (("coarse",), "subpixel", 2),
    ]
    student = model
    for site in sites:
        student, _ = lowrank(student, site, site.max_rank)
    torch.testing.assert_close(student(x), model(x), atol=1e-5, rtol=0)
