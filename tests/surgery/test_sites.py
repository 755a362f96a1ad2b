from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgesr.errors import ModelError
from edgesr.models import create_model
from edgesr.surgery.sites import find_sites, require_sites
from edgesr.surgery.structure import apply_changes, clone

# kind of network -> (site layers, kind, scale) in the order in which they run
EXPECTED = {
    "espcn": [(("2",), "subpixel", 3)],
    "edsr": [(("up1.0",), "subpixel", 2), (("up2.0",), "subpixel", 2)],
    "functional": [(("up",), "subpixel", 4)],
    "deconv": [(("2",), "transposed", 3)],
    "pair": [(("main1", "side1"), "transposed", 2), (("main2", "side2"), "transposed", 2)],
    "resize": [(("3",), "resize", 2)],
    "depth": [(("up",), "subpixel", 2)],
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_every_kind_is_found(kind, make, example):
    sites = find_sites(make(kind), example)
    assert [(site.layers, site.kind, site.scale) for site in sites] == EXPECTED[kind]


@pytest.mark.parametrize("kind", EXPECTED)
def test_channels_last_input_changes_nothing(kind, make, example):
    model = make(kind)
    there = find_sites(model, example.to(memory_format=torch.channels_last))
    assert there == find_sites(model, example)


def test_counts_and_shares(make, example):
    first, second = find_sites(make("edsr"), example[:1])
    weights, pixels = 16 * 64 * 9, 7 * 9
    assert (first.params, first.macs) == (weights + 64, weights * pixels)
    assert second.macs == weights * pixels * 4
    head, block, tail = 6 * 16 * 9, 16 * 16 * 9, 16 * 6 * 9
    total_params = head + 16 + block + 16 + 2 * (weights + 64) + tail + 6
    total_macs = pixels * (head + block + weights + 4 * weights + 16 * tail)
    assert first.param_share == pytest.approx((weights + 64) / total_params)
    assert second.mac_share == pytest.approx(4 * weights * pixels / total_macs)


def test_parallel_pair_sums_its_layers(make, example):
    site = find_sites(make("pair"), example[:1])[0]
    assert (site.in_channels, site.out_channels) == (12, 16)
    assert site.params == 2 * (12 * 8 * 16 + 8)
    assert site.macs == 2 * 12 * 8 * 16 * 7 * 9
    assert (site.rows, site.cols, site.max_rank) == (2 * 8 * 16, 12, 12)


def test_transposed_layers_on_different_tensors_stay_apart(example):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.ConvTranspose2d(6, 4, 2, stride=2)
            self.b = nn.ConvTranspose2d(6, 4, 2, stride=2)

        def forward(self, x):
            return self.a(x) + self.b(x * 2)

    assert [site.layers for site in find_sites(Two(), example)] == [("a",), ("b",)]


def test_parallel_layers_of_unequal_width_stay_apart(example):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.ConvTranspose2d(6, 4, 2, stride=2)
            self.b = nn.ConvTranspose2d(6, 3, 2, stride=2)

        def forward(self, x):
            return self.a(x), self.b(x)

    assert [site.layers for site in find_sites(Two(), example)] == [("a",), ("b",)]


def test_bicubic_residual_is_no_site(example):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.Conv2d(6, 24, 3, padding=1)
            self.refine = nn.Conv2d(6, 6, 3, padding=1)

        def forward(self, x):
            smooth = F.interpolate(x, scale_factor=2, mode="bicubic")
            return self.refine(F.pixel_shuffle(self.up(x), 2) + smooth)

    assert [site.layers for site in find_sites(Residual(), example)] == [("up",)]


def test_downsampling_and_stride_one_are_no_sites(example):
    model = nn.Sequential(
        nn.Upsample(scale_factor=0.5),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.ConvTranspose2d(6, 6, 3, padding=1),
        nn.PixelUnshuffle(2),
    )
    x = torch.rand(1, 6, 8, 8)
    assert find_sites(model, x) == []
    with pytest.raises(ModelError, match="no learnable upsampler"):
        require_sites(model, x)


def test_sum_with_a_repeated_anchor_before_the_shuffle(example):
    class Anchor(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Conv2d(6, 24, 3, padding=1)

        def forward(self, x):
            return F.pixel_shuffle(self.last(x) + x.repeat_interleave(4, dim=1), 2)

    assert [site.layers for site in find_sites(Anchor(), example)] == [("last",)]


def test_shared_upsampler_is_one_site_with_the_macs_of_both_calls():
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 3, 4, stride=2, padding=1)

        def forward(self, x):
            return self.up(self.up(x))

    [site] = find_sites(Pyramid(), torch.rand(1, 3, 5, 5))
    assert site.macs == 3 * 3 * 16 * (25 + 100)


def test_model_is_left_as_it_was(make, example):
    model = make("pair").train()
    model.side1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    find_sites(model, example)
    assert model.norm.training
    assert not model.side1.training
    assert not any(module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_wrong_band_count_is_one_line():
    model = nn.Sequential(nn.Conv2d(6, 24, 3), nn.PixelShuffle(2))
    with pytest.raises(ModelError, match="does not run on an input of shape") as caught:
        find_sites(model, torch.rand(1, 5, 8, 8))
    assert "\n" not in str(caught.value)


def test_factorised_layer_is_again_one_site(make, example):
    model = make("pair")
    originals = find_sites(model, example)
    changes = [
        {"pass": "lowrank", "site": s.name, "layers": list(s.layers), "rank": 4} for s in originals
    ]
    student = apply_changes(clone(model), changes)
    sites = find_sites(student, example)
    assert [site.layers for site in sites] == [site.layers for site in originals]
    assert sites[0].params == 12 * 4 + 2 * (4 * 8 * 16 + 8)


def test_published_shares_of_the_upsampler():
    """LKCA-Net: 9*128*B*r^2 + B*r^2 parameters; DACN: two pairs of transposed convolutions."""
    lkca = create_model("lkca_net", bands=16, scale=4, blocks=1)
    [site] = find_sites(lkca, torch.rand(1, 16, 16, 16))
    assert site.params == 9 * 128 * 256 + 256
    pairs = find_sites(create_model("dacn", scale=4), torch.rand(1, 32, 8, 8))
    assert [len(site.layers) for site in pairs] == [2, 2]
    assert [site.params for site in pairs] == [2 * 1_048_832, 2 * 1_048_704]
    assert sum(site.param_share for site in pairs) > 0.9
