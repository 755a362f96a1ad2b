from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgesr.errors import OptionError
from edgesr.surgery.calibrate import all_moments, moments
from edgesr.surgery.layers import dense_weight
from edgesr.surgery.passes.lowrank import factorise, lowrank, lowrank_cost
from edgesr.surgery.sites import find_sites
from edgesr.surgery.spectrum import rank_matrix, spectrum
from edgesr.surgery.structure import changes_of

KINDS = ["espcn", "edsr", "functional", "deconv", "pair", "resize", "depth"]


def error(student: nn.Module, model: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        return float((student(x) - model(x)).double().square().mean())


@pytest.mark.parametrize("aware", [False, True], ids=["weights", "data"])
@pytest.mark.parametrize("kind", KINDS)
def test_full_rank_reproduces_the_network(kind, aware, make, example, output):
    model = make(kind)
    student = model
    sites = find_sites(model, example)
    seen = all_moments(model, sites, [example]) if aware else {}
    for site in sites:
        student, _ = lowrank(student, site, site.max_rank, seen.get(site.name))
    torch.testing.assert_close(output(student, example), output(model, example), atol=1e-5, rtol=0)
    assert all(p.dtype == torch.float32 for p in student.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_weight_error_is_the_energy_of_the_discarded_values(kind, make, example):
    model = make(kind)
    site = find_sites(model, example)[0]
    values = spectrum(model, site).values
    for rank in (1, 3, site.max_rank - 1):
        student, _ = lowrank(model, site, rank)
        lost = rank_matrix(model, site) - rank_matrix(student, site)
        expected = np.sqrt((values[rank:] ** 2).sum())
        assert float(lost.norm()) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_data_error_is_the_energy_of_the_discarded_whitened_values():
    """Mean squared output error = tail of the squared singular values of W C^(1/2)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(5, 24, 3, padding=1), nn.PixelShuffle(2))
    x = torch.rand(8, 5, 12, 12)
    [site] = find_sites(model, x)
    seen = moments(model, site, [x])
    covariance = (seen.second - torch.outer(seen.mean, seen.mean)).numpy()
    weight = rank_matrix(model, site).numpy()
    squares = np.linalg.eigvalsh(weight @ covariance @ weight.T)[::-1]
    for rank in (2, 8, 16):
        student, _ = lowrank(model, site, rank, seen)
        assert error(student, model, x) * 24 == pytest.approx(squares[rank:].sum(), rel=1e-3)


def test_low_rank_features_are_met_exactly_at_their_rank():
    """Features that span three dimensions need no more than rank three, bias included."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 24, 1), nn.PixelShuffle(2))
    x = torch.einsum("cr,nrhw->nchw", torch.randn(8, 3), torch.randn(2, 3, 9, 9)) + 5
    [site] = find_sites(model, x)
    student, _ = lowrank(model, site, 3, moments(model, site, [x]))
    torch.testing.assert_close(student(x), model(x), atol=1e-4, rtol=0)


@given(
    rank=st.integers(1, 8),
    kind=st.sampled_from(["conv", "transposed", "pair"]),
    bias=st.booleans(),
    kernel=st.sampled_from([2, 3, 4, 5]),
    features=st.sampled_from(["random", "constant", "zero", "dead", "tiny", "one pixel"]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=40)
def test_data_aware_is_never_worse_than_the_weights_alone(rank, kind, bias, kernel, features, seed):
    torch.manual_seed(seed)
    x = torch.randn(2, 8, 6, 7) * torch.rand(8, 1, 1) + torch.rand(8, 1, 1)
    if features == "constant":
        x = torch.ones_like(x) * torch.rand(8, 1, 1)
    elif features == "zero":
        x = torch.zeros_like(x)
    elif features == "dead":
        x[:, ::3] = 0
    elif features == "tiny":
        x = x * 1e-6
    elif features == "one pixel":
        x = x[:1, :, :1, :1]
    if kind == "conv":
        conv = nn.Conv2d(8, 16, kernel, padding=kernel // 2, bias=bias)
        model = nn.Sequential(conv, nn.PixelShuffle(2))
    elif kind == "transposed":
        model = nn.Sequential(nn.ConvTranspose2d(8, 5, kernel, stride=2, bias=bias))
    else:
        model = Pair(kernel, bias)
    [site] = find_sites(model, x)
    aware, _ = lowrank(model, site, rank, moments(model, site, [x]))
    plain, _ = lowrank(model, site, rank)
    scale = float(model(x).detach().square().mean())
    assert error(aware, model, x) <= error(plain, model, x) * (1 + 1e-5) + 1e-11 * scale
    assert all(parameter.isfinite().all() for parameter in aware.parameters())


class Pair(nn.Module):
    def __init__(self, kernel: int, bias: bool) -> None:
        super().__init__()
        self.a = nn.ConvTranspose2d(8, 4, kernel, stride=2, bias=bias)
        self.b = nn.ConvTranspose2d(8, 4, kernel, stride=2, bias=bias)

    def forward(self, x):
        return torch.cat([self.a(x), self.b(x)], 1)


def test_pair_shares_one_factor(example):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(6, 8, 1), Pair(4, True))
    [site] = find_sites(model, example)
    student, _ = lowrank(model, site, 5)
    a, b = (dense_weight(layer).flatten(1) for layer in (student[1].a, student[1].b))
    assert torch.linalg.matrix_rank(torch.cat([a, b], 1), rtol=1e-6) == 5


def test_one_factorisation_serves_every_rank(make, example, output):
    model = make("edsr")
    site = find_sites(model, example)[0]
    seen = moments(model, site, [example])
    shared = factorise(model, site, seen)
    for rank in (4, 16):
        one, _ = lowrank(model, site, rank, factorisation=shared)
        other, change = lowrank(model, site, rank, seen)
        assert torch.equal(output(one, example), output(other, example))
        assert change == {"pass": "lowrank", "site": "up1.0", "layers": ["up1.0"], "rank": rank}


def test_factors_are_balanced(make, example):
    model = make("edsr")
    student, _ = lowrank(model, find_sites(model, example)[0], 8)
    layer = student.up1[0]
    torch.testing.assert_close(
        layer.reduce.weight.flatten(1).norm(dim=1), layer.expand.weight.flatten(1).norm(dim=0)
    )


def test_predicted_cost_is_the_real_cost(make, example):
    for kind in ("espcn", "edsr", "deconv", "resize", "depth"):
        model = make(kind)
        for site in find_sites(model, example):
            student, _ = lowrank(model, site, 5)
            after = next(s for s in find_sites(student, example) if s.name == site.name)
            assert lowrank_cost(site, 5) == (after.params, after.macs)


def test_predicted_cost_of_a_pair_counts_its_factor_once(make, example):
    model = make("pair")
    site = find_sites(model, example[:1])[0]
    student, _ = lowrank(model, site, 5)
    params, macs = lowrank_cost(site, 5)
    assert params == find_sites(student, example[:1])[0].params
    assert macs == 7 * 9 * (12 * 5 + 2 * 5 * 8 * 16)


@pytest.mark.parametrize("rank", [0, -1, 55])
def test_rank_outside_the_matrix_is_refused(rank, make, example):
    model = make("espcn")
    [site] = find_sites(model, example)
    with pytest.raises(OptionError, match=r"1 \.\. 54"):
        lowrank(model, site, rank)


def test_factorised_network_can_be_factorised_again(make, example, output):
    model = make("functional")
    [site] = find_sites(model, example)
    first, _ = lowrank(model, site, 12)
    second, _ = lowrank(first, find_sites(first, example)[0], 6)
    direct, _ = lowrank(model, site, 6)
    torch.testing.assert_close(output(second, example), output(direct, example), atol=1e-5, rtol=0)
    assert [change["rank"] for change in changes_of(second)] == [12, 6]
