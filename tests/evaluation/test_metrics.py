"""Metrics against torchmetrics, scikit-image and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.errors import DataError
from edgesr.evaluation import metrics


def images(seed: int, shape=(2, 4, 24, 20)) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    hr = torch.rand(shape, generator=random, dtype=torch.float64) * 0.8 + 0.05
    sr = (hr + 0.05 * torch.randn(shape, generator=random, dtype=torch.float64)).clamp(0, 1)
    return sr, hr


seeds = given(seed=st.integers(0, 2**31))
few = settings(deadline=None, max_examples=10)


@seeds
@few
def test_mpsnr_agrees_with_torchmetrics_band_by_band(seed):
    from torchmetrics.functional.image import peak_signal_noise_ratio

    sr, hr = images(seed)
    bands = [
        peak_signal_noise_ratio(sr[n, b], hr[n, b], data_range=1.0)
        for n in range(2)
        for b in range(4)
    ]
    assert float(metrics.mpsnr(sr, hr)) == pytest.approx(float(torch.stack(bands).mean()), abs=1e-5)


@seeds
@few
def test_dacn_psnr_takes_the_maximum_of_the_sample_as_peak(seed):
    from skimage.metrics import peak_signal_noise_ratio

    sr, hr = (image.numpy() for image in images(seed))
    bands = [
        peak_signal_noise_ratio(hr[n, b], sr[n, b], data_range=hr[n].max())
        for n in range(2)
        for b in range(4)
    ]
    ours = metrics.mpsnr(torch.from_numpy(sr), torch.from_numpy(hr), convention="dacn")
    assert float(ours) == pytest.approx(np.mean(bands))


@seeds
@few
def test_mssim_agrees_with_torchmetrics_and_scikit_image(seed):
    from skimage.metrics import structural_similarity
    from torchmetrics.functional.image import structural_similarity_index_measure

    sr, hr = images(seed)
    ours = float(metrics.mssim(sr, hr))
    _, torchs = structural_similarity_index_measure(sr, hr, data_range=1.0, return_full_image=True)
    inside = torchs[..., 5:-5, 5:-5]  # torchmetrics also averages over mirrored borders
    assert ours == pytest.approx(float(inside.mean()), abs=1e-9)
    scikits = [
        structural_similarity(
            hr[n, b].numpy(),
            sr[n, b].numpy(),
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for n in range(2)
        for b in range(4)
    ]
    assert ours == pytest.approx(np.mean(scikits), abs=1e-9)


@seeds
@few
def test_dacn_ssim_agrees_with_the_defaults_of_scikit_image(seed):
    from skimage.metrics import structural_similarity

    sr, hr = images(seed)
    scikits = [
        structural_similarity(
            hr[n].numpy(),
            sr[n].numpy(),
            channel_axis=0,
            data_range=float(hr[n].max() - hr[n].min()),
        )
        for n in range(2)
    ]
    ours = float(metrics.mssim(sr, hr, convention="dacn"))
    assert ours == pytest.approx(np.mean(scikits), abs=1e-9)


@seeds
@few
def test_sam_agrees_with_torchmetrics(seed):
    from torchmetrics.functional.image import spectral_angle_mapper

    sr, hr = images(seed)
    expected = math.degrees(float(spectral_angle_mapper(sr, hr)))
    assert float(metrics.sam(sr, hr)) == pytest.approx(expected, abs=1e-6)


@seeds
@few
def test_ergas_agrees_with_torchmetrics(seed):
    from torchmetrics.functional.image import error_relative_global_dimensionless_synthesis

    sr, hr = images(seed)
    expected = error_relative_global_dimensionless_synthesis(sr, hr, ratio=4)
    assert float(metrics.ergas(sr, hr, 4)) == pytest.approx(float(expected), rel=1e-6)


@seeds
@few
def test_cc_and_rmse_agree_with_numpy(seed):
    sr, hr = (image.numpy() for image in images(seed, (1, 4, 12, 12)))
    correlations = [np.corrcoef(sr[0, b].ravel(), hr[0, b].ravel())[0, 1] for b in range(4)]
    pair = torch.from_numpy(sr), torch.from_numpy(hr)
    assert float(metrics.cc(*pair)) == pytest.approx(np.mean(correlations))
    assert float(metrics.rmse(*pair)) == pytest.approx(np.sqrt(np.mean((sr - hr) ** 2)))


def test_ergas_by_hand():
    hr = torch.full((1, 2, 4, 4), 0.5)
    hr[:, 1] = 0.25
    sr = hr + 0.05
    expected = 100 / 4 * math.sqrt(((0.05 / 0.5) ** 2 + (0.05 / 0.25) ** 2) / 2)
    assert float(metrics.ergas(sr, hr, 4)) == pytest.approx(expected, rel=1e-6)


def test_sam_leaves_out_zero_spectra():
    hr = torch.zeros(1, 2, 1, 2)
    hr[0, :, 0, 0] = torch.tensor([1.0, 0.0])
    sr = torch.ones(1, 2, 1, 2)
    assert float(metrics.sam(sr, hr)) == pytest.approx(45.0)


def test_perfect_and_dark_images_read_finite_figures():
    hr = images(0)[1]
    perfect = metrics.evaluate_pair(hr, hr, 4)
    assert perfect["mpsnr"] == 100
    assert perfect["mssim"] == pytest.approx(1)
    assert perfect["sam"] == pytest.approx(0, abs=1e-5)
    assert perfect["cc"] == pytest.approx(1)
    assert perfect["rmse"] == perfect["ergas"] == 0
    dark = torch.zeros(1, 3, 12, 12)
    for convention in ("standard", "dacn"):
        figures = metrics.evaluate_pair(dark, dark, 4, convention=convention)
        assert all(math.isfinite(value) for value in figures.values())


def test_a_batch_reads_the_mean_of_its_images():
    sr, hr = images(3)
    whole = metrics.evaluate_pair(sr, hr, 2)
    single = [metrics.evaluate_pair(sr[n : n + 1], hr[n : n + 1], 2) for n in range(2)]
    for name, value in whole.items():
        assert value == pytest.approx((single[0][name] + single[1][name]) / 2)


def test_metrics_keep_no_graph_and_accept_float32():
    sr, hr = (image.float() for image in images(4))
    assert not metrics.mpsnr(sr.requires_grad_(), hr).requires_grad


@pytest.mark.parametrize("shape", [(1, 3, 12, 11), (3, 12, 12)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(DataError, match="12, 12"):
        metrics.rmse(torch.zeros(shape), torch.zeros(1, 3, 12, 12))


def test_an_image_smaller_than_the_window_is_refused():
    with pytest.raises(DataError, match="at least 11 x 11"):
        metrics.mssim(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
