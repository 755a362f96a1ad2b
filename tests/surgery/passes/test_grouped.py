from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgesr.errors import OptionError
from edgesr.surgery.calibrate import moments
from edgesr.surgery.passes.grouped import admissible_groups, grouped, grouped_cost, groups_for_rank
from edgesr.surgery.sites import find_sites
from edgesr.surgery.structure import changes_of


def upsampler(c_in: int, bands: int, scale: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, bands * scale**2, 3, padding=1), nn.PixelShuffle(scale))


def site_of(c_in: int, bands: int, scale: int):
    model = upsampler(c_in, bands, scale)
    return model, find_sites(model, torch.rand(1, c_in, 4, 4))[0]


def error(student: nn.Module, model: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        return float((student(x) - model(x)).double().square().mean())


def test_published_rank_to_groups():
    """Pavia: rank 130 of 128 channels, 3 x 3 -> g = 8; so for Chikusei's and Houston's 60."""
    _, site = site_of(128, 102, 4)
    assert admissible_groups(site) == [2, 4, 8, 16]
    assert groups_for_rank(site, 130) == 8
    assert groups_for_rank(site, 144) == 8
    assert groups_for_rank(site, 145) == 4
    assert groups_for_rank(site, 72) == 16
    assert groups_for_rank(site, 1000) == 1


def test_admissible_groups_divide_channels_and_sub_pixels(make, example):
    assert admissible_groups(site_of(16, 6, 3)[1]) == []
    assert admissible_groups(site_of(18, 6, 3)[1]) == [3, 9]
    assert admissible_groups(site_of(12, 6, 2)[1]) == [2, 4]
    pair = find_sites(make("pair"), example)[0]
    assert admissible_groups(pair) == [2, 4]


@pytest.mark.parametrize("groups", [1, 3, 32])
def test_inadmissible_groups_are_refused_with_the_valid_ones(groups):
    model, site = site_of(16, 4, 4)
    with pytest.raises(OptionError, match=r"choose from \[2, 4, 8, 16\]"):
        grouped(model, site, groups)


def test_weight_space_is_the_block_diagonal_slice():
    model, site = site_of(8, 2, 2)
    student, change = grouped(model, site, 4)
    assert change == {"pass": "grouped", "site": "0", "layers": ["0"], "groups": 4}
    for i in range(4):
        torch.testing.assert_close(
            student[0].weight[2 * i : 2 * i + 2],
            model[0].weight[2 * i : 2 * i + 2, 2 * i : 2 * i + 2],
        )
    torch.testing.assert_close(student[0].bias, model[0].bias)
    assert type(student[0]) is nn.Conv2d


@pytest.mark.parametrize("bias", [True, False])
def test_least_squares_equals_numpy_for_each_group(bias):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, bias=bias), nn.PixelShuffle(2))
    mixing = torch.randn(8, 8)
    x = torch.einsum("oc,nchw->nohw", mixing, torch.rand(4, 8, 10, 10))
    [site] = find_sites(model, x)
    student, _ = grouped(model, site, 2, moments(model, site, [x]))
    with torch.no_grad():
        wanted = model[0](x).movedim(1, -1).reshape(-1, 16).double().numpy()
    columns = F.unfold(x, 3, padding=1).movedim(1, -1).reshape(-1, 72).double().numpy()
    for group in range(2):
        design = columns[:, 36 * group : 36 * (group + 1)]
        if bias:
            design = np.hstack([design, np.ones((len(design), 1))])
        solution, *_ = np.linalg.lstsq(design, wanted[:, 8 * group : 8 * group + 8], rcond=None)
        ours = student[0].weight[8 * group : 8 * group + 8].detach().double().flatten(1).numpy()
        np.testing.assert_allclose(ours, solution[:36].T, atol=2e-4)
        if bias:
            found = student[0].bias[8 * group : 8 * group + 8].detach().numpy()
            np.testing.assert_allclose(found, solution[36], atol=2e-4)


def test_a_grouped_layer_is_recovered_from_its_dense_form():
    torch.manual_seed(0)
    truth = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, groups=4), nn.PixelShuffle(2))
    model, site = site_of(8, 4, 2)
    nn.init.zeros_(model[0].weight)
    with torch.no_grad():
        for i in range(4):
            block = truth[0].weight[4 * i : 4 * i + 4]
            model[0].weight[4 * i : 4 * i + 4, 2 * i : 2 * i + 2] = block
        model[0].bias.copy_(truth[0].bias)
    x = torch.rand(2, 8, 9, 9)
    for seen in (None, moments(model, site, [x])):
        student, _ = grouped(model, site, 4, seen)
        torch.testing.assert_close(student(x), truth(x), atol=1e-5, rtol=0)


@given(
    groups=st.sampled_from([2, 4]),
    bias=st.booleans(),
    transposed=st.booleans(),
    kernel=st.sampled_from([2, 3, 4, 5]),
    features=st.sampled_from(["random", "constant", "zero", "dead", "tiny", "one pixel"]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=25)
def test_data_aware_is_never_worse_than_the_slice(groups, bias, transposed, kernel, features, seed):
    torch.manual_seed(seed)
    x = torch.randn(2, 8, 6, 7) + torch.rand(8, 1, 1)
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
    if transposed:
        model = nn.Sequential(nn.ConvTranspose2d(8, 4, kernel, stride=2, bias=bias))
    else:
        conv = nn.Conv2d(8, 16, kernel, padding=kernel // 2, bias=bias)
        model = nn.Sequential(conv, nn.PixelShuffle(2))
    [site] = find_sites(model, x)
    aware, _ = grouped(model, site, groups, moments(model, site, [x]))
    plain, _ = grouped(model, site, groups)
    scale = float(model(x).detach().square().mean())
    assert error(aware, model, x) <= error(plain, model, x) * (1 + 1e-5) + 1e-11 * scale
    assert all(parameter.isfinite().all() for parameter in aware.parameters())


def test_predicted_cost_is_the_real_cost(make, example):
    for kind in ("edsr", "functional", "deconv", "pair", "depth"):
        model = make(kind)
        for site in find_sites(model, example):
            if 2 not in admissible_groups(site):
                continue
            student, _ = grouped(model, site, 2)
            after = next(s for s in find_sites(student, example) if s.name == site.name)
            assert grouped_cost(site, 2) == (after.params, after.macs)


def test_grouping_again_needs_a_multiple():
    model, site = site_of(16, 4, 4)
    student, _ = grouped(model, site, 4)
    again = find_sites(student, torch.rand(1, 16, 4, 4))[0]
    assert admissible_groups(again) == [8, 16]
    finer, _ = grouped(student, again, 8)
    assert [change["groups"] for change in changes_of(finer)] == [4, 8]
