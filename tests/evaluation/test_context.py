"""The context that is measured is what the layers' sizes say."""

from __future__ import annotations

import pytest
import torch
from edgesr_export.card import GLOBAL
from torch import nn

from edgesr.evaluation.context import measure_context
from edgesr.models import create_model


def tile(side, bands=3):
    return torch.rand(1, bands, side, side, generator=torch.Generator().manual_seed(side))


def network(*convolutions):
    """Of (kernel, dilation), then x2; the corners of a kernel answer without loss."""
    layers = [nn.Conv2d(3, 3, k, padding="same", dilation=d) for k, d in convolutions]
    for layer in layers:
        nn.init.zeros_(layer.weight)
        corners = layer.weight.data[:, :, :: max(1, layer.kernel_size[0] - 1)]
        corners[..., :: max(1, layer.kernel_size[0] - 1)] = 1 / 12
    return nn.Sequential(*layers, nn.ConvTranspose2d(3, 3, 2, 2)).eval()


@pytest.mark.parametrize(
    "convolutions", [[(1, 1)], [(3, 1)], [(7, 1), (7, 3)], [(5, 2)] * 6, [(7, 3)] * 5]
)
def test_stacked_convolutions_look_as_far_as_their_kernels_reach(convolutions):
    reach = sum((kernel - 1) // 2 * dilation for kernel, dilation in convolutions)
    assert measure_context(network(*convolutions), tile, 2) == reach


def test_an_uneven_kernel_counts_on_its_longer_side():
    torch.manual_seed(0)
    layer = nn.Sequential(
        nn.ZeroPad2d((0, 4, 0, 4)), nn.Conv2d(3, 3, 5), nn.Upsample(scale_factor=2)
    )
    assert measure_context(layer, tile, 2) == 4


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Upsample(scale_factor=2)

    def forward(self, x):
        return self.scale(x * torch.sigmoid(x.mean((2, 3), keepdim=True)))


@pytest.mark.parametrize("of", ["pooling", "lkca_net", "farther than is tried"])
def test_networks_that_look_everywhere(of):
    check_global(of)


def test_attention_looks_everywhere(brief_context):
    check_global("dacn")


def check_global(of):
    torch.manual_seed(0)
    model = {
        "pooling": lambda: Pooled(),
        "lkca_net": lambda: create_model("lkca_net", bands=32, scale=2, channels=16, blocks=1),
        "dacn": lambda: create_model("dacn", bands=32, scale=2),
        "farther than is tried": lambda: nn.Sequential(
            nn.AvgPool2d(199, 1, 99), nn.Upsample(scale_factor=2)
        ),
    }[of]()
    for weight in model.parameters():  # fresh blocks of LKCA-Net add nothing
        nn.init.normal_(weight, std=0.4)
    bands = 32 if of in ("lkca_net", "dacn") else 3
    assert measure_context(model.eval(), lambda side: tile(side, bands), 2) == GLOBAL
