from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgesr.models import create_model


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("name", ["vdsr", "3dfcnn"])
@torch.no_grad()
def test_shape_and_bicubic_skip(name: str) -> None:
    model = create_model(name, bands=7, scale=3)
    lr = torch.rand(2, 7, 6, 5)
    assert model(lr).shape == (2, 7, 18, 15)
    for parameter in model.upsampler.parameters():
        parameter.zero_()
    bicubic = F.interpolate(lr, size=(18, 15), mode="bicubic", align_corners=False)
    torch.testing.assert_close(model(lr), bicubic)


def test_vdsr_has_twenty_convs_without_biases() -> None:
    convs = [m for m in create_model("vdsr", bands=4).modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 20
    assert all(conv.bias is None for conv in convs)


@torch.no_grad()
def test_3dfcnn_on_depth_one_is_its_middle_slices() -> None:
    """On a volume of depth 1 only the middle slice of each kernel meets data."""
    model = create_model("3dfcnn", bands=3, scale=2)
    x = lr = torch.rand(1, 3, 8, 8)
    for conv in (layer for layer in model.body if isinstance(layer, nn.Conv3d)):
        middle = conv.weight[:, :, conv.kernel_size[0] // 2]
        x = F.relu(F.conv2d(x, middle, conv.bias, padding=conv.kernel_size[1] // 2))
    up = F.conv2d(x, model.upsampler.weight[:, :, 1], model.upsampler.bias, padding=2)
    expected = F.pixel_shuffle(up, 2) + F.interpolate(lr, scale_factor=2, mode="bicubic")
    torch.testing.assert_close(model(lr), expected, rtol=1e-4, atol=1e-5)
