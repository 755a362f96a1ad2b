"""The fused losses against the plain ones, whose formulas other tests hold against known values."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_losses import DEGENERATE
from torch import Tensor

from edgesr.distill import fused, losses

PAIRS = {"hh": (fused.hh_loss, losses.hh_loss), "kd": (fused.kd_loss, losses.kd_loss)}
both = pytest.mark.parametrize(("quick", "plain"), PAIRS.values(), ids=PAIRS)


def outcome(loss, image: Tensor, target: Tensor, **weights: float) -> tuple[Tensor, Tensor]:
    """Value and gradient, in float64."""
    image = image.clone().requires_grad_()
    value = 3 * loss(image, target, **weights)
    (slope,) = torch.autograd.grad(value, image)
    return value.detach().double(), slope.double()


def images(*shape: int, seed: int = 0, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=random, dtype=torch.float64)
    return target + noise * torch.randn(shape, generator=random, dtype=torch.float64), target


@both
@settings(deadline=None, max_examples=20)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 7), st.integers(1, 7)),
    seed=st.integers(0, 2**31),
)
def test_values_and_gradients_are_those_of_the_plain_losses(quick, plain, shape, seed):
    pair = images(*shape, seed=seed)
    torch.testing.assert_close(outcome(quick, *pair), outcome(plain, *pair), rtol=1e-9, atol=1e-12)


@both
def test_pieces_of_several_bands_and_a_shorter_last_one_are_joined(monkeypatch, quick, plain):
    pair = images(2, 11, 6, 5)
    expected = outcome(plain, *pair)
    for bands in (1, 3, 4, 99):
        monkeypatch.setattr(fused, "PIECE", bands * 2 * 6 * 5)
        torch.testing.assert_close(outcome(quick, *pair), expected, rtol=1e-9, atol=1e-12)


@both
def test_gradients_pass_the_numerical_check(quick, plain):
    image, target = images(1, 3, 3, 4)
    check = torch.autograd.gradcheck
    assert check(lambda x: quick(x, target), image.requires_grad_(), eps=1e-7, atol=1e-4)


@both
@pytest.mark.parametrize("noise", [0.3, 0.03])
def test_single_precision_is_as_exact_as_that_of_the_plain_losses(quick, plain, noise):
    pair = images(2, 31, 16, 16, noise=noise)
    single = [image.float() for image in pair]
    truth = outcome(plain, *(image.double() for image in single))
    for exact, ours, theirs in zip(
        truth, outcome(quick, *single), outcome(plain, *single), strict=True
    ):
        scale = exact.abs().max()
        allowed = 1e-6 * scale + 2 * (theirs - exact).abs().max()
        assert (ours - exact).abs().max() <= allowed
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@both
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_images_give_what_the_plain_losses_give(quick, plain, case):
    pair = DEGENERATE[case]
    torch.testing.assert_close(outcome(quick, *pair), outcome(plain, *pair), rtol=1e-5, atol=1e-6)


@both
def test_dark_pixels_among_bright_ones_do_not_count(quick, plain):
    image, target = images(2, 5, 6, 6)
    image[0, :, 2, 3], target[1, :, 4, 4], target[0, :, 2, 3] = 0, 0, 0
    torch.testing.assert_close(
        outcome(quick, image, target), outcome(plain, image, target), rtol=1e-9, atol=1e-12
    )


@both
def test_half_precision_in_any_order_of_memory_is_worked_on_in_single(quick, plain):
    image, target = (one.bfloat16() for one in images(2, 5, 6, 6))
    last = image.to(memory_format=torch.channels_last).requires_grad_()
    value = quick(last, target)
    (slope,) = torch.autograd.grad(value, last)
    expected, expected_slope = outcome(plain, image.float(), target.float())
    assert value.dtype == torch.float32
    assert slope.dtype == torch.bfloat16
    torch.testing.assert_close(3 * value.double(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(slope.double() * 3, expected_slope, rtol=2**-8, atol=1e-9)


def test_terms_have_their_weights_and_sites_their_mean():
    pair = images(2, 4, 5, 5)
    for weights in (
        {"cos": 2.0, "sam": 0, "grad": 0},
        {"cos": 0, "sam": 0, "grad": 3.0},
        {"sam": 7},
    ):
        expected = outcome(losses.kd_loss, *pair, **weights)
        torch.testing.assert_close(outcome(fused.kd_loss, *pair, **weights), expected)
    other = images(2, 4, 5, 5, seed=1)
    features, targets = zip(pair, other, strict=True)
    assert float(fused.kd_loss(features, targets)) == pytest.approx(
        float(losses.kd_loss(features, targets))
    )


def test_without_a_gradient_to_take_none_is_made():
    assert not fused.hh_loss(*images(1, 3, 4, 4)).requires_grad
