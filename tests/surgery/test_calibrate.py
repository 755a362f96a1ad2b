from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgesr.errors import DataError
from edgesr.surgery.calibrate import Moments, all_moments, moments, reconstruction_error
from edgesr.surgery.passes.grouped import grouped
from edgesr.surgery.passes.lowrank import lowrank
from edgesr.surgery.sites import find_sites


def test_a_site_that_has_seen_enough_sees_no_more(make, example):
    model = make("edsr")
    sites = find_sites(model, example)
    batches = [example[:1], example[1:], example[:1]]
    found = all_moments(model, sites, batches, limit=7 * 9 * 2)
    assert {name: seen.count for name, seen in found.items()} == {"up1.0": 126, "up2.0": 252}


def test_moments_equal_those_of_the_unfolded_features(make, example):
    model = make("espcn").train()
    [site] = find_sites(model, example)
    features = model[1](model[0](example)).detach()
    columns = F.unfold(features, 3, padding=1).movedim(1, -1).reshape(-1, 12 * 9).double()
    found = moments(model, site, [example[:1], example[1:]])
    assert found.count == len(columns)
    torch.testing.assert_close(found.second, columns.T @ columns / len(columns))
    torch.testing.assert_close(found.mean, columns.mean(0))
    assert found.second.dtype == torch.float64
    assert model.training


def test_one_pass_serves_all_sites(make, example):
    model = make("pair")
    sites = find_sites(model, example)
    together = all_moments(model, sites, iter([example]))
    for site in sites:
        alone = moments(model, site, [example])
        torch.testing.assert_close(together[site.name].second, alone.second)


def test_gathering_stops_at_the_limit(make, example):
    model = make("espcn")
    [site] = find_sites(model, example)
    assert moments(model, site, [example] * 10, limit=200).count == 2 * example[0, 0].numel() * 2


def test_single_image_without_batch_axis(make, example):
    model = make("espcn")
    [site] = find_sites(model, example)
    torch.testing.assert_close(
        moments(model, site, [example[0]]).second, moments(model, site, [example[:1]]).second
    )


@pytest.mark.parametrize("features", ["zero", "constant", "dead", "huge offset"])
def test_regularised_moments_are_definite_whatever_the_features(features):
    torch.manual_seed(0)
    columns = torch.rand(50, 20, dtype=torch.float64)
    if features == "zero":
        columns.zero_()
    elif features == "constant":
        columns[:] = columns[0]
    elif features == "dead":
        columns[:, ::2] = 0
    else:
        columns = 1e6 + 1e-3 * columns
    found = Moments(columns.T @ columns / 50, columns.mean(0), 50)
    for centred in (False, True):
        assert torch.linalg.cholesky(found.regularised(centred)).isfinite().all()


def test_broken_or_missing_calibration_data_is_refused(make, example):
    model = make("espcn")
    [site] = find_sites(model, example)
    with pytest.raises(DataError, match="no calibration input"):
        moments(model, site, [])
    with pytest.raises(DataError, match="not all finite"):
        moments(model, site, [example * float("nan")])


def test_transposed_window_moments_see_the_zero_border():
    layer = nn.ConvTranspose2d(2, 3, 4, stride=2)
    model = nn.Sequential(layer)
    x = torch.rand(1, 2, 3, 4)
    [site] = find_sites(model, x)
    found = moments(model, site, [x])
    columns = F.unfold(x, 2, padding=1).movedim(1, -1).reshape(-1, 8).double()
    assert found.count == 4 * 5
    torch.testing.assert_close(found.second, columns.T @ columns / len(columns))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("operate", [lowrank, grouped])
def test_reconstruction_error_is_that_of_the_uncropped_outputs(operate, bias):
    torch.manual_seed(0)
    model = nn.Sequential(nn.ConvTranspose2d(8, 6, 4, stride=2, bias=bias)).eval()
    x = torch.randn(3, 8, 6, 7) + 0.5
    [site] = find_sites(model, x)
    seen = moments(model, site, [x])
    student, _ = operate(model, site, 2, seen)
    with torch.no_grad():
        wanted, found = model(x).double(), student(x).double()
        plain = wanted - (model[0].bias.double()[:, None, None] if bias else 0)
    expected = float((wanted - found).square().sum() / plain.square().sum())
    found_error = reconstruction_error(model, student, site, seen)
    assert found_error == pytest.approx(expected, rel=1e-4)
    assert reconstruction_error(model, model, site, seen) == 0
