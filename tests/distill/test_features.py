from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from distill_fakes import SITE, SmallNet
from torch import nn

from edgesr.distill.features import SiteFeatures
from edgesr.distill.fused import kd_loss
from edgesr.errors import ModelError


def test_subpixel_features_are_the_output_before_the_bicubic_sum():
    net, lr = SmallNet(), torch.rand(2, 3, 6, 5)
    listener = SiteFeatures(net, [SITE])
    sr = net(lr)
    (feature,) = listener.collect()
    torch.testing.assert_close(feature + F.interpolate(lr, scale_factor=2, mode="bicubic"), sr)


def test_parallel_layers_are_joined():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.main = nn.ConvTranspose2d(3, 4, 4, stride=2, padding=1)
            self.skip = nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1)

        def forward(self, x):
            return torch.cat((self.main(x).relu(), self.skip(x)), 1)

    net, x = Pair(), torch.rand(1, 3, 4, 4)
    site = SimpleNamespace(name="pair", layers=("main", "skip"), kind="transposed", scale=2)
    listener = SiteFeatures(net, [site])
    net(x)
    (feature,) = listener.collect()
    torch.testing.assert_close(feature, torch.cat((net.main(x), net.skip(x)), 1))


def test_each_plane_of_a_volume_is_an_image():
    net = nn.Sequential(nn.ConvTranspose3d(2, 3, (1, 4, 4), stride=(1, 2, 2)))
    x = torch.rand(2, 2, 5, 4, 4)
    site = SimpleNamespace(name="0", layers=("0",), kind="transposed", scale=2)
    listener = SiteFeatures(net, [site])
    volume = net(x)
    (feature,) = listener.collect()
    images = [volume[image, :, plane] for image in range(2) for plane in range(5)]
    torch.testing.assert_close(feature, torch.stack(images))
    assert torch.isfinite(kd_loss([feature], [feature.detach() * 0.9]))


def test_features_have_the_precision_of_the_layer_and_carry_gradients():
    net = SmallNet()
    listener = SiteFeatures(net, [SITE])
    with torch.autocast("cpu", torch.bfloat16):
        net(torch.rand(1, 3, 4, 4))
    (feature,) = listener.collect()
    assert feature.dtype == torch.bfloat16
    feature.sum().backward()
    assert net.head.weight.grad is not None


def test_a_closed_listener_hears_nothing():
    net = SmallNet()
    listener = SiteFeatures(net, [SITE])
    listener.close()
    net(torch.rand(1, 3, 4, 4))
    with pytest.raises(ModelError, match="did not run"):
        listener.collect()


def test_a_missing_layer_is_named():
    site = SimpleNamespace(name="up", layers=("up",), kind="subpixel", scale=2)
    with pytest.raises(ModelError, match="no layer 'up'"):
        SiteFeatures(SmallNet(), [site])
