from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from edgesr.errors import ModelError
from edgesr.models import create_model
from edgesr.surgery import grouped, lowrank, moments
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


class Volume(nn.Module):
    """Bands as the depth of a volume; a transposed 3-D convolution enlarges height and width."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv3d(1, 4, 3, padding=1)
        self.up = nn.ConvTranspose3d(
            4, 2, (3, 5, 5), stride=(1, 3, 3), padding=(1, 2, 2), output_padding=(0, 2, 2)
        )
        self.tail = nn.Conv3d(2, 1, 1)

    def forward(self, x):
        return self.tail(self.up(torch.relu(self.head(x.unsqueeze(1))))).squeeze(1)


@torch.no_grad()
def test_transposed_convolution_of_volumes():
    torch.manual_seed(0)
    model, x = Volume(), torch.rand(1, 6, 4, 5)
    assert model(x).shape == (1, 6, 12, 15)
    [site] = find_sites(model, x)
    assert (site.layers, site.kind, site.scale) == (("up",), "transposed", 3)
    assert site.macs == 4 * 2 * 75 * 6 * 4 * 5
    assert (site.rows, site.cols) == (2 * 75, 4)
    samples = [torch.rand(2, 6, 4, 5) for _ in range(3)]
    seen = moments(model, site, samples)
    for full in (lowrank(model, site, 4)[0], lowrank(model, site, 4, seen)[0]):
        torch.testing.assert_close(full(x), model(x), atol=1e-5, rtol=0)
    losses = {}
    for name, known in (("weights", None), ("data", seen)):
        student = lowrank(model, site, 2, known)[0]
        losses[name] = sum(
            F.mse_loss(student.up(h), model.up(h)) for h in _features(model, samples)
        )
    assert losses["data"] < losses["weights"]
    assert grouped(model, site, 2, seen)[0](x).shape == (1, 6, 12, 15)


def _features(model, samples):
    return [torch.relu(model.head(x.unsqueeze(1))) for x in samples]


NORMS = {
    "weight norm": parametrizations.weight_norm,
    "old weight norm": weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "old spectral norm": spectral_norm,
}


class Stages(nn.Module):
    """x4 in two stages of one and the same convolution."""

    def __init__(self, norm):
        super().__init__()
        self.head = nn.Conv2d(6, 8, 3, padding=1)
        self.up = norm(nn.Conv2d(8, 32, 3, padding=1))
        self.again = self.up

    def forward(self, x):
        x = F.pixel_shuffle(self.up(self.head(x)), 2)
        return F.pixel_shuffle(self.again(x), 2)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
@pytest.mark.parametrize("norm", NORMS)
@torch.no_grad()
def test_surgery_on_a_shared_and_normed_convolution(norm, example):
    torch.manual_seed(0)
    model = Stages(NORMS[norm])
    for _ in range(5):
        model(example)  # spectral norm learns its vectors from calls in training mode
    model.eval()
    [site] = find_sites(model, example[:1])
    assert (site.layers, site.scale) == (("up",), 2)
    assert site.macs == 8 * 32 * 9 * 7 * 9 * (1 + 4)
    seen = moments(model, site, example)
    student, _ = lowrank(model, site, site.max_rank, seen)
    torch.testing.assert_close(student(example), model(example), atol=1e-5, rtol=0)
    student, _ = grouped(model, site, 4, seen)
    assert student.up is student.again
    assert student.up.groups == 4
    assert student(example).shape == model(example).shape
