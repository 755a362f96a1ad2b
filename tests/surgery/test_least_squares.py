from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.surgery.least_squares import fit


@given(
    rows=st.integers(1, 6),
    inner=st.integers(1, 8),
    extra=st.integers(0, 8),
    seed=st.integers(0, 999),
)
@settings(deadline=None, max_examples=30)
def test_the_gradient_vanishes_at_the_solution(rows, inner, extra, seed):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    size = inner + extra
    design = torch.linalg.qr(normal(size, inner))[0].T
    factor = normal(size, size + 2)
    second, target = factor @ factor.T, normal(rows, size)
    lost = target - fit(target, design, second) @ design
    assert (lost @ second @ design.T).abs().max() < 1e-8 * second.norm()
    plain = target - fit(target, design, None) @ design
    assert (plain @ design.T).abs().max() < 1e-10
