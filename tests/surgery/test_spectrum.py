from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgesr.errors import ModelError, OptionError
from edgesr.surgery.sites import find_sites
from edgesr.surgery.spectrum import Spectrum, spectrum


def test_values_equal_numpy_for_a_convolution(make, example):
    model = make("espcn")
    [site] = find_sites(model, example)
    weight = model[2].weight.detach().numpy().astype(np.float64).reshape(54, 12 * 9)
    found = spectrum(model, site)
    assert (found.rows, found.cols) == (54, 108) == (site.rows, site.cols)
    np.testing.assert_allclose(found.values, np.linalg.svd(weight, compute_uv=False), rtol=1e-10)


def test_parallel_pair_is_stacked(make, example):
    model = make("pair")
    site = find_sites(model, example)[0]
    stacked = np.concatenate(
        [
            layer.weight.detach().numpy().astype(np.float64).reshape(12, -1).T
            for layer in (model.main1, model.side1)
        ]
    )
    found = spectrum(model, site)
    assert (found.rows, found.cols) == stacked.shape
    np.testing.assert_allclose(found.values, np.linalg.svd(stacked, compute_uv=False), rtol=1e-10)


def test_weight_norm_is_multiplied_out(make, example):
    model = make("functional")
    with torch.no_grad():
        model.up.parametrizations.weight.original0.mul_(3)
    [site] = find_sites(model, example)
    weight = model.up.weight.detach().double().flatten(1).numpy()
    np.testing.assert_allclose(
        spectrum(model, site).values, np.linalg.svd(weight, compute_uv=False), rtol=1e-6
    )


def test_rank_by_hand():
    found = Spectrum(np.array([6.0, 3.0, 1.0]), rows=3, cols=3)
    np.testing.assert_allclose(found.cumulative("sum"), [0.6, 0.9, 1.0])
    np.testing.assert_allclose(found.cumulative("energy"), [36 / 46, 45 / 46, 1.0])
    assert found.rank(0.9) == 2
    assert found.rank(0.91) == 3
    assert found.rank(0.9, "energy") == 2
    assert found.rank(1.0) == 3
    assert found.rank(1e-9) == 1


def test_effective_rank_of_equal_values_is_their_number():
    assert Spectrum(np.full(5, 2.0), 5, 9).effective_rank == pytest.approx(5)
    assert Spectrum(np.array([1.0, 0.0]), 2, 2).effective_rank == pytest.approx(1)


@given(
    st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30),
    st.floats(0.01, 1.0),
    st.sampled_from(["sum", "energy"]),
)
@settings(deadline=None, max_examples=50)
def test_rank_is_the_fewest_that_reach_the_target(values, target, criterion):
    found = Spectrum(np.sort(np.array(values))[::-1], len(values), len(values))
    rank, shares = found.rank(target, criterion), found.cumulative(criterion)
    assert shares[rank - 1] >= target - 1e-9
    assert rank == 1 or shares[rank - 2] < target
    assert found.rank(target, "energy") <= found.rank(target, "sum")


@pytest.mark.parametrize("target", [0.0, -0.1, 1.01, float("nan")])
def test_target_outside_its_range_is_refused(target):
    with pytest.raises(OptionError, match="rank target"):
        Spectrum(np.ones(3), 3, 3).rank(target)


def test_unknown_criterion_is_refused():
    with pytest.raises(OptionError, match="criterion"):
        Spectrum(np.ones(3), 3, 3).cumulative("trace")


@pytest.mark.parametrize(("value", "message"), [(0.0, "all zero"), (float("nan"), "finite")])
def test_broken_weights_are_refused(value, message):
    model = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.PixelShuffle(2))
    nn.init.constant_(model[0].weight, value)
    [site] = find_sites(model, torch.rand(1, 2, 4, 4))
    with pytest.raises(ModelError, match=message):
        spectrum(model, site)
