"""Gain and offset: physical value = stored number x gain + offset, for all bands or each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Factor = float | np.ndarray
"""One number for all bands, or float64 [B]."""


def factor_of(values: Sequence[float] | np.ndarray | float | None, neutral: float) -> Factor | None:
    """A number where all ``values`` are equal, else float64 [B]; None where all are ``neutral``."""
    if values is None:
        return None
    found = np.asarray(values, dtype=np.float64).ravel()
    if found.size == 0 or (found == neutral).all():
        return None
    return float(found[0]) if (found == found[0]).all() else found


def per_band(factor: Factor | None, bands: int, neutral: float) -> np.ndarray:
    """Float64 [B] of a factor, ``neutral`` where it is None."""
    value = neutral if factor is None else factor
    return np.broadcast_to(np.asarray(value, dtype=np.float64), (bands,))


def picked_factor(factor: Factor | None, bands: np.ndarray) -> Factor | None:
    """The factor of some bands."""
    return factor[bands] if isinstance(factor, np.ndarray) else factor
