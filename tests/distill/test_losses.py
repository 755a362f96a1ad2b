from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.distill.losses import (
    cosine_distance,
    dacn_loss,
    gradient_magnitude,
    hh_loss,
    kd_loss,
    spectral_angle,
)


def pixels(*spectra: list[float]) -> torch.Tensor:
    """A one-row image [1, B, 1, number of spectra]."""
    return torch.tensor(spectra).T[None, :, None, :].double()


def test_spectral_angle_of_known_angles():
    a = pixels([1.0, 0.0], [1.0, 0.0], [2.0, 2.0])
    b = pixels([0.0, 3.0], [1.0, 1.0], [-1.0, -1.0])
    # 90, 45 and 180 degrees; the last is clamped by 1e-6 of cosine
    expected = (0.5 + 0.25 + math.acos(-1 + 1e-6) / math.pi) / 3
    assert float(spectral_angle(a, b)) == pytest.approx(expected, abs=1e-12)


def test_equal_spectra_read_the_angle_of_the_clamp():
    a = pixels([1.0, 2.0], [3.0, 1.0])
    assert float(spectral_angle(a, a)) == pytest.approx(math.acos(1 - 1e-6) / math.pi)


def test_cosine_distance_of_known_angles():
    a, b = pixels([1.0, 0.0], [1.0, 0.0]), pixels([0.0, 3.0], [1.0, 1.0])
    assert float(cosine_distance(a, b)) == pytest.approx(1 - (0 + math.sqrt(0.5)) / 2)


def test_zero_spectra_do_not_count():
    a, b = pixels([1.0, 0.0], [0.0, 0.0]), pixels([0.0, 1.0], [1.0, 1.0])
    assert float(spectral_angle(a, b)) == pytest.approx(0.5)
    assert float(cosine_distance(a, b)) == pytest.approx(1.0)


def test_gradient_magnitude_by_hand():
    image = torch.tensor([[[0.0, 1.0], [2.0, 9.0]], [[3.0, 9.0], [9.0, 9.0]]])[None].double()
    # at the only interior voxel: dx = 1, dy = 2, dband = 3
    assert gradient_magnitude(image).shape == (1, 1, 1, 1)
    assert float(gradient_magnitude(image)) == pytest.approx(math.sqrt(1 + 4 + 9 + 1e-6))


def test_hh_loss_by_hand():
    hr = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    hr[:, 0] = 1.0
    sr = torch.zeros_like(hr)
    sr[:, 1] = 0.5
    # every spectrum turned by 90 degrees; only the band difference has a gradient: 1 and 0.5
    grad = math.sqrt(1 + 1e-6) - math.sqrt(0.25 + 1e-6)
    assert float(hh_loss(sr, hr)) == pytest.approx(0.75 + 0.5 * 0.5 + 0.1 * grad)


def test_kd_loss_by_hand_and_as_mean_over_sites():
    hr = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    hr[:, 0] = 1.0
    turned = torch.zeros_like(hr)
    turned[:, 1] = 0.5
    grad = math.sqrt(1 + 1e-6) - math.sqrt(0.25 + 1e-6)
    one = 0.5 * 1 + 0.5 * 0.5 + 0.1 * grad
    assert float(kd_loss(turned, hr)) == pytest.approx(one)
    same = 0.5 * math.acos(1 - 1e-6) / math.pi
    assert float(kd_loss([turned, hr], [hr, hr])) == pytest.approx((one + same) / 2)


def test_kd_loss_ignores_the_length_of_spectra_except_in_the_gradients():
    features = torch.rand(2, 5, 4, 4, dtype=torch.float64) + 0.1
    assert float(kd_loss(features, 3 * features, grad=0)) == pytest.approx(
        0.5 * math.acos(1 - 1e-6) / math.pi
    )


def test_dacn_loss_by_hand():
    hr = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    sr = hr.clone()
    sr[0, 0, 0, 0] = 2.0
    weights = [torch.tensor([3.0, 4.0]).double(), torch.tensor([[1.0]]).double()]
    mse = 4 / 8
    # one of 4 differences along each axis is -2
    spatial, spectral = 4 / 4 + 4 / 4, 4 / 4
    penalty = 1e-4 * (25 + 1)
    paper = float(dacn_loss(sr, hr, weights))
    assert paper == pytest.approx(mse + spatial + spectral + penalty)
    published = float(dacn_loss(sr, hr, weights, "published"))
    assert published == pytest.approx(mse + spatial + penalty)
    assert float(dacn_loss(sr, hr)) == pytest.approx(mse + spatial + spectral)


DEGENERATE = {
    "zeros against zeros": (torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)),
    "zeros against ones": (torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)),
    "ones against zeros": (torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)),
    "identical": (torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 4, 4), 0.5)),
    "opposite": (torch.ones(1, 3, 4, 4), -torch.ones(1, 3, 4, 4)),
    "tiny": (torch.full((1, 3, 4, 4), 1e-30), torch.full((1, 3, 4, 4), 1e-20)),
    "huge": (torch.full((1, 3, 4, 4), 1e15), torch.rand(1, 3, 4, 4)),
    "one band": (torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4)),
    "one pixel": (torch.rand(1, 3, 1, 1), torch.rand(1, 3, 1, 1)),
}


@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("loss", [hh_loss, kd_loss, dacn_loss], ids=lambda f: f.__name__)
def test_losses_and_gradients_are_finite_at_degenerate_input(case, loss):
    sr, hr = (image.clone() for image in DEGENERATE[case])
    sr.requires_grad_()
    value = loss(sr, hr)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(sr.grad).all()


@settings(deadline=None, max_examples=15)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(2, 6), st.integers(2, 6), st.integers(2, 6)),
    seed=st.integers(0, 2**31),
)
def test_terms_agree_with_torch_on_random_images(shape, seed):
    random = torch.Generator().manual_seed(seed)
    a = torch.rand(shape, generator=random, dtype=torch.float64) + 0.01
    b = torch.rand(shape, generator=random, dtype=torch.float64) + 0.01
    cosine = F.cosine_similarity(a, b, dim=1)
    assert float(cosine_distance(a, b)) == pytest.approx(float(1 - cosine.mean()))
    angle = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos().mean() / math.pi
    assert float(spectral_angle(a, b)) == pytest.approx(float(angle))
    bands, rows, columns = torch.gradient(a[0], dim=(0, 1, 2), edge_order=1)
    # one-sided differences stand at the first border of torch.gradient
    corner = (bands[0, 0, 0] ** 2 + rows[0, 0, 0] ** 2 + columns[0, 0, 0] ** 2 + 1e-6).sqrt()
    assert float(gradient_magnitude(a)[0, 0, 0, 0]) == pytest.approx(float(corner))
