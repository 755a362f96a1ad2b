"""How sure a mean over few blocks is."""

from __future__ import annotations

import math

import numpy as np

CONFIDENCE = 90.0
"""Per cent of the intervals, where nothing else is asked for."""
RESAMPLES = 4000
MIN_BLOCKS = 2
ENOUGH_BLOCKS = 5
"""From so many on an interval can be one of 90 %: it lies between the least and the greatest block,
which enclose the median of n blocks with 1 - 2^(1 - n), 87.5 % for four and 93.75 % for five."""


def interval(losses: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Both ends of the interval of a mean loss; None for a single window, or a confidence of 0.

    ``losses`` are those of windows, [windows] or [windows, bands]; ``confidence`` is in per cent.
    """
    enough = confidence and len(losses) >= MIN_BLOCKS
    return bootstrap_interval(losses, confidence) if enough else None


def bootstrap_interval(
    differences: np.ndarray,
    confidence: float = CONFIDENCE,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of the mean of paired differences, by resampling blocks, and bands where given.

    The percentile bootstrap of paired data (Efron & Tibshirani, An Introduction to the Bootstrap,
    1993, chapters 8 and 13); blocks and bands are drawn independently (Owen, The pigeonhole
    bootstrap, 2007). As few blocks make its quantiles too narrow, they are taken further out, where
    those of Student's t lie for so many blocks (Hesterberg, What Teachers Should Know About the
    Bootstrap, 2015, section 3.4: expanded percentiles). It assumes that blocks are alike and
    independent, and never reaches beyond the least and the greatest block.

    Args:
        differences: before minus after, [blocks] or [blocks, bands], at least two blocks.
        confidence: per cent, above 0 and below 100; half of the rest lies on each side.
        resamples: how many means are drawn.
        seed: of the draws.

    >>> low, high = bootstrap_interval(np.array([0.1, 0.2, 0.3, 0.2, 0.1, 0.3]))
    >>> 0.1 <= low < 0.2 < high <= 0.3
    True
    """
    from scipy.special import ndtr, stdtrit

    values = differences.reshape(len(differences), -1)
    blocks, bands = values.shape
    if blocks < MIN_BLOCKS or not 0 < confidence < 100:
        raise ValueError(
            f"an interval needs at least {MIN_BLOCKS} blocks and a confidence above 0 and below"
            f" 100 per cent, received {blocks} and {confidence}"
        )
    random = np.random.default_rng(seed)
    means = _shares(random, resamples, blocks) @ values
    if bands > 1:
        means = (means * _shares(random, resamples, bands)).sum(1)
    side = (1 - confidence / 100) / 2
    expanded = ndtr(math.sqrt(blocks / (blocks - 1)) * stdtrit(blocks - 1, side))
    low, high = np.quantile(means, (expanded, 1 - expanded))
    return float(low), float(high)


def _shares(random: np.random.Generator, resamples: int, count: int) -> np.ndarray:
    """Share [resamples, count] of each of ``count`` things in draws with replacement."""
    return random.multinomial(count, np.full(count, 1 / count), size=resamples) / count
