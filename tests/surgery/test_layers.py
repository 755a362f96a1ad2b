"""The window form of every layer against the layer itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from edgesr.surgery.layers import (
    bias_of,
    dense_weight,
    from_windows,
    tap_patterns,
    taps,
    to_windows,
    windows,
)
from edgesr.surgery.passes.lowrank import FactorisedConv, FactorisedTransposed
from edgesr.surgery.structure import Geometry

CONVOLUTIONS = {
    "plain": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "strided": lambda: nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), bias=False),
    "dilated": lambda: nn.Conv2d(4, 6, 3, padding=2, dilation=2),
    "reflect": lambda: nn.Conv2d(4, 6, 3, padding=(1, 2), padding_mode="reflect"),
    "same even": lambda: nn.Conv2d(4, 6, 4, padding="same"),
    "valid": lambda: nn.Conv2d(4, 6, 3, padding="valid"),
    "grouped": lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "weight norm": lambda: parametrizations.weight_norm(nn.Conv2d(4, 6, 3)),
    "old weight norm": lambda: weight_norm(nn.Conv2d(4, 6, 3)),
    "old spectral norm": lambda: spectral_norm(nn.Conv2d(4, 6, 3)),
}

TRANSPOSED = {
    "4/2": lambda: nn.ConvTranspose2d(4, 6, 4, stride=2),
    "3/2": lambda: nn.ConvTranspose2d(4, 6, 3, stride=2),
    "2/3": lambda: nn.ConvTranspose2d(4, 6, 2, stride=3),
    "9/3": lambda: nn.ConvTranspose2d(4, 6, 9, stride=3, bias=False),
    "dilated": lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, dilation=2),
    "grouped": lambda: nn.ConvTranspose2d(4, 6, 4, stride=2, groups=2),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@torch.no_grad()
def test_a_product_with_windows_is_the_convolution(kind):
    torch.manual_seed(0)
    layer = CONVOLUTIONS[kind]().eval()
    x = torch.rand(2, 4, 8, 9)
    geometry, bias = Geometry.of(layer), bias_of(layer)
    matrix = to_windows(dense_weight(layer), geometry)
    result = torch.cat(list(windows(x, geometry))).double() @ matrix.T
    expected = layer(x).movedim(1, -1).reshape(-1, 6).double()
    torch.testing.assert_close(result + (0 if bias is None else bias), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_three_axes():
    layer = nn.Conv3d(2, 3, (3, 1, 5), padding=(1, 0, 2), stride=(1, 2, 1))
    x = torch.rand(1, 2, 4, 5, 6)
    geometry = Geometry.of(layer)
    result = torch.cat(list(windows(x, geometry))).double() @ dense_weight(layer).flatten(1).T
    expected = layer(x).movedim(1, -1).reshape(-1, 3).double() - layer.bias
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", TRANSPOSED)
@torch.no_grad()
def test_a_product_with_windows_is_the_transposed_convolution(kind):
    torch.manual_seed(0)
    layer = TRANSPOSED[kind]()
    x = torch.rand(2, 4, 5, 6)
    geometry, stride = Geometry.of(layer), layer.stride[0]
    t = taps(geometry)[0]
    matrix = to_windows(dense_weight(layer), geometry)
    product = torch.cat(list(windows(x, geometry))).double() @ matrix.T
    # [2, positions, phases, channels] -> interleave the phases
    grid = product.reshape(2, 5 + t - 1, 6 + t - 1, stride, stride, 6)
    image = grid.permute(0, 5, 1, 3, 2, 4).reshape(2, 6, (4 + t) * stride, (5 + t) * stride)
    expected = layer(x).double() - (0 if layer.bias is None else layer.bias[:, None, None])
    height, width = expected.shape[-2:]
    torch.testing.assert_close(image[..., :height, :width], expected, atol=1e-5, rtol=0)
    assert not image[..., height:, :].any()
    assert not image[..., width:].any()


@torch.no_grad()
def test_transposed_on_three_axes_of_unequal_stride():
    torch.manual_seed(0)
    layer = nn.ConvTranspose3d(3, 2, (3, 4, 5), stride=(1, 2, 3), bias=False)
    x = torch.rand(1, 3, 2, 4, 5)
    geometry = Geometry.of(layer)
    product = torch.cat(list(windows(x, geometry))).double()
    product = product @ to_windows(dense_weight(layer), geometry).T
    places = [n + t - 1 for n, t in zip(x.shape[2:], taps(geometry), strict=True)]
    grid = product.reshape(*places, 1, 2, 3, 2).permute(6, 0, 3, 1, 4, 2, 5)
    image = grid.reshape(2, places[0], 2 * places[1], 3 * places[2])
    expected = layer(x)[0].double()
    cropped = image[:, : expected.shape[1], : expected.shape[2], : expected.shape[3]]
    torch.testing.assert_close(cropped, expected, atol=1e-5, rtol=0)
    assert image.abs().sum().item() == pytest.approx(cropped.abs().sum().item())


@pytest.mark.parametrize("kind", TRANSPOSED)
def test_window_form_is_invertible(kind):
    layer = TRANSPOSED[kind]()
    geometry, weight = Geometry.of(layer), dense_weight(layer)
    torch.testing.assert_close(from_windows(to_windows(weight, geometry), geometry), weight)


def test_window_form_is_invertible_on_three_axes():
    layer = nn.ConvTranspose3d(3, 2, (3, 4, 5), stride=(1, 2, 3), dilation=(1, 2, 1))
    geometry, weight = Geometry.of(layer), dense_weight(layer)
    torch.testing.assert_close(from_windows(to_windows(weight, geometry), geometry), weight)


def test_tap_patterns_of_uneven_kernels():
    """Kernel 3, stride 2: even phases have two taps along an axis, odd phases one."""
    patterns = tap_patterns(Geometry.of(nn.ConvTranspose2d(1, 1, 3, stride=2)))
    counts = {int(p): int(used.sum()) for phase, used in patterns for p in phase}
    assert counts == {0: 4, 1: 2, 2: 2, 3: 1}


def test_large_images_come_in_bounded_blocks():
    geometry = Geometry.of(nn.Conv2d(1, 1, 3, padding=1))
    blocks = list(windows(torch.rand(1, 1, 300, 200), geometry))
    assert sum(len(block) for block in blocks) == 300 * 200
    assert max(len(block) for block in blocks) <= 4096


@torch.no_grad()
def test_factors_are_multiplied_out():
    torch.manual_seed(0)
    for layer, kind in (
        (nn.Conv2d(4, 6, 3), FactorisedConv),
        (TRANSPOSED["4/2"](), FactorisedTransposed),
    ):
        factored = kind(Geometry.of(layer), 2)
        for parameter in factored.parameters():
            nn.init.normal_(parameter)
        nn.init.zeros_(factored.expand.bias)
        x, dense = torch.rand(1, 4, 5, 5), dense_weight(factored).float()
        torch.nn.init.zeros_(layer.bias)
        layer.weight.copy_(dense)
        torch.testing.assert_close(factored(x), layer(x), atol=1e-5, rtol=1e-5)
