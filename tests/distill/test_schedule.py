from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from edgesr.distill.schedule import decay, learning_rate


def test_decay_is_that_of_the_paper():
    assert decay(0) == decay(9) == 1
    assert decay(10) == 0.66
    assert decay(39) == pytest.approx(0.66 * 0.66 * 0.66)
    assert decay(5, d=0.5, every=2) == 0.25


def test_learning_rate_starts_ends_and_halves_where_a_cosine_does():
    assert learning_rate(0, 101) == pytest.approx(2e-3)
    assert learning_rate(50, 101) == pytest.approx((2e-3 + 2e-4) / 2)
    assert learning_rate(100, 101) == pytest.approx(2e-4)
    assert learning_rate(25, 101) == pytest.approx(2e-4 + 9e-4 * (1 + math.cos(math.pi / 4)))


def test_warm_up_rises_linearly_to_the_initial_rate():
    rates = [learning_rate(step, 20, warmup=4) for step in range(6)]
    assert rates[:4] == pytest.approx([5e-4, 1e-3, 1.5e-3, 2e-3])
    assert rates[4] == pytest.approx(2e-3)
    assert rates[5] < 2e-3


@pytest.mark.parametrize(("steps", "warmup"), [(20, 4), (50, 0), (7, 3)])
def test_learning_rate_is_that_of_torch_s_schedulers(steps, warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-3)
    cosine = CosineAnnealingLR(optimizer, T_max=steps - warmup - 1, eta_min=2e-4)
    scheduler = cosine
    if warmup:
        linear = LinearLR(optimizer, 1 / warmup, 1.0, total_iters=warmup - 1)
        scheduler = SequentialLR(optimizer, [linear, cosine], milestones=[warmup])
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    own = [learning_rate(step, steps, warmup=warmup) for step in range(steps)]
    assert own == pytest.approx(rates, rel=1e-12)


@settings(deadline=None, max_examples=20)
@given(steps=st.integers(1, 60), warmup=st.integers(0, 80), data=st.data())
def test_learning_rate_stays_within_its_bounds(steps, warmup, data):
    step = data.draw(st.integers(0, steps - 1))
    rate = learning_rate(step, steps, warmup=warmup)
    assert 0 < rate <= 2e-3 + 1e-12
    if step >= warmup:
        assert rate >= 2e-4 - 1e-12
