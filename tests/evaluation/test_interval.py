"""The interval of a mean over blocks, against other people's and against repeated draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from edgesr.evaluation.interval import bootstrap_interval


def test_many_blocks_are_as_scipy_has_them():
    values = np.random.default_rng(3).gamma(2.0, size=300)
    theirs = stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, method="percentile", n_resamples=9999, rng=1
    ).confidence_interval
    assert bootstrap_interval(values, 90, resamples=9999) == pytest.approx(theirs, abs=0.02)


@pytest.mark.parametrize("blocks", [6, 12])
def test_few_blocks_cover_the_true_mean_as_often_as_claimed(blocks):
    """Of 400 draws from a normal law, the interval of Student's t holds the mean in 90 %."""
    random = np.random.default_rng(blocks)
    covered = above = 0
    for draw in range(400):
        low, high = bootstrap_interval(random.normal(1.0, 2.0, blocks), resamples=400, seed=draw)
        covered += low <= 1.0 <= high
        above += high < 1.0
    assert 0.86 <= covered / 400 <= 0.94
    assert above / 400 <= 0.075


def test_blocks_of_many_bands_are_as_wide_as_blocks_and_bands_together_vary():
    """With effects of blocks and of bands, the variance of the mean is the sum of both shares."""
    random = np.random.default_rng(0)
    blocks, bands = 50, 30
    values = random.normal(0, 1, (blocks, 1)) + random.normal(0, 2, (1, bands))
    low, high = bootstrap_interval(values, 90, resamples=8000)
    spread = np.sqrt(values.mean(1).var() / blocks + values.mean(0).var() / bands)
    assert (high - low) / 2 == pytest.approx(1.645 * spread, rel=0.08)


def test_the_interval_is_the_same_again_and_within_the_blocks():
    values = np.array([0.1, -0.2, 0.4, 0.05, 0.0, 0.3])
    assert bootstrap_interval(values) == bootstrap_interval(values)
    low, high = bootstrap_interval(values)
    assert values.min() <= low < values.mean() < high <= values.max()
    narrow = bootstrap_interval(values, 50)
    assert low < narrow[0] < narrow[1] < high
    assert bootstrap_interval(np.full(6, 0.25)) == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize(("values", "confidence"), [([0.1], 90), ([0.1, 0.2], 0), ([0, 1], 100)])
def test_what_has_no_interval_is_refused(values, confidence):
    with pytest.raises(ValueError, match="at least 2 blocks and a confidence above 0"):
        bootstrap_interval(np.asarray(values, float), confidence)
