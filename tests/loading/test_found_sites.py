"""Every kind of third-party network shows the upsamplers that its author wrote."""

from __future__ import annotations

import pytest
import third_party
import torch

from edgesr.loading.functional_convs import make_plain
from edgesr.loading.infer_signature import find_call
from edgesr.loading.signature import adapt
from edgesr.surgery import find_sites, lowrank

IMAGE = torch.rand(1, third_party.BANDS, 16, 16, generator=torch.Generator().manual_seed(2))

# kind -> (layer, kind of site, scale) in the order in which they run
EXPECTED = {
    "edsr": [("tail.0.0", "subpixel", 2), ("tail.0.2", "subpixel", 2)],
    "rcan": [("tail.0", "subpixel", 2)],
    "wdsr": [("tail.0", "subpixel", 4), ("skip.0", "subpixel", 4)],
    "wdsr_parametrized": [("tail.0", "subpixel", 4), ("skip.0", "subpixel", 4)],
    "fsrcnn": [("deconv", "transposed", 2)],
    "lapsrn": [("deconv", "transposed", 2), ("image_deconv", "transposed", 2)],
    "resize_conv": [("upconv1", "resize", 2), ("upconv2", "resize", 2)],
    "conv3d": [("up", "transposed", 2)],
    "deconv3d": [("up", "transposed", 4)],
    "functional": [("w2_conv", "subpixel", 4)],
    "hand_shuffle": [("up", "subpixel", 2)],
    "custom_conv": [("up", "subpixel", 2)],
    "data_dependent": [("up", "subpixel", 2)],
    "dict_output": [("up", "subpixel", 2)],
    "scale_argument": [("upsample.4", "subpixel", 4)],
    "unet": [*((f"decode.{i}", "transposed", 2) for i in range(3)), ("up", "subpixel", 2)],
    "fourier": [("up", "subpixel", 2)],
    "stateful": [("up", "subpixel", 2)],
    "swinir": [("upsample.0", "subpixel", 2)],
    "swinir_unpadded": [("conv_up1", "resize", 2), ("conv_up2", "resize", 2)],
    "essaformer": [("up1.0", "subpixel", 2), ("up2.0", "subpixel", 2)],
    "sspsr": [
        ("branch.upsample.0", "subpixel", 2),
        ("upsample.0", "subpixel", 2),
        ("skip_conv", "resize", 4),
    ],
    "msdformer": [("up.0", "subpixel", 2)],
}


def test_every_third_party_network_is_here():
    assert EXPECTED.keys() == third_party.THIRD_PARTY.keys()


@pytest.mark.parametrize("kind", EXPECTED)
@torch.no_grad()
def test_sites_of_every_kind(kind):
    torch.manual_seed(0)
    model = third_party.THIRD_PARTY[kind]().eval()
    expected = third_party.as_author(kind, model, IMAGE)
    model = adapt(model, find_call(model, IMAGE, third_party.SCALE[kind])[0])
    model, _ = make_plain(model, IMAGE)
    sites = find_sites(model, IMAGE)
    assert [(site.name, site.kind, site.scale) for site in sites] == EXPECTED[kind]
    for site in sites:
        model, _ = lowrank(model, site, site.max_rank)
    torch.testing.assert_close(model(IMAGE), expected, atol=1e-4, rtol=1e-4)
