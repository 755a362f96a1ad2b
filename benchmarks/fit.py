"""How something grows: the exponent of a power law through measured points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SUPERLINEAR = 1.15
"""Exponents above this are growth beyond the linear; what is below may be noise."""


@dataclass(frozen=True)
class Growth:
    """y ~ x^exponent.

    Attributes:
        exponent: least squares over all points, in logarithms; below 1 where a fixed part weighs.
        last: between the two largest points, where a fixed part weighs least.
    """

    exponent: float
    last: float

    @property
    def superlinear(self) -> bool:
        """Whether the largest sizes cost more than in proportion."""
        return max(self.exponent, self.last) > SUPERLINEAR


def growth(x: Sequence[float], y: Sequence[float]) -> Growth:
    """Fit at least two points, all above 0, in any order.

    Raises:
        ValueError: fewer points, or one that is not positive.
    """
    if len(x) != len(y) or len(set(x)) < 2:
        raise ValueError(f"a fit needs at least two points, got {list(x)} and {list(y)}")
    if min(*x, *y) <= 0:
        raise ValueError(f"logarithms need positive numbers, got {list(x)} and {list(y)}")
    order = np.argsort(x)
    log_x, log_y = np.log(np.asarray(x, float)[order]), np.log(np.asarray(y, float)[order])
    exponent = np.polyfit(log_x, log_y, 1)[0]
    last = (log_y[-1] - log_y[-2]) / (log_x[-1] - log_x[-2])
    return Growth(float(exponent), float(last))
