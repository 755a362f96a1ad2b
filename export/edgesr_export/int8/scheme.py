"""How a range of values becomes a scale and a zero point, which every target takes otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgesr_export.int8.layers import Layer

_LEAST_SCALE = float(np.finfo(np.float32).tiny) * 256


@dataclass(frozen=True)
class Range:
    """Real values that the 256 levels of a quantised tensor span; 0 lies within."""

    low: float
    high: float

    def __or__(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class QuantScheme:
    """How one target takes values.

    Attributes:
        element: type of quantised activations; weights are int8 with one scale per channel.
        symmetric: zero point 0.
        outputs: pairs behind a layer too.
        timed: whether this machine can tell what gets faster.
        unfit: why the target should not compute a layer in int8; empty where it may.
    """

    element: type[np.int8] | type[np.uint8]
    symmetric: bool
    outputs: bool
    timed: bool
    unfit: Callable[[Layer], str] = lambda _: ""

    def affine(self, values: Range) -> tuple[np.ndarray, np.ndarray]:
        """Scale (float32) and zero point (of ``element``), both scalar arrays."""
        if self.symmetric:
            scale, zero = max(-values.low / 128, values.high / 127), 0
        else:
            scale = (values.high - values.low) / 255
            zero = round(-values.low / max(scale, _LEAST_SCALE))
        return (
            np.array(max(scale, _LEAST_SCALE), np.float32),
            np.array(np.clip(zero, 0, 255) if zero else 0, self.element),
        )
