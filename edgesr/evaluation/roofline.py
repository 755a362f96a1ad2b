"""The roofline: no faster than all arithmetic at its peak, nor than all bytes at the bandwidth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Roof:
    """What a machine can do at most.

    Attributes:
        operations: operations a second by precision ("fp32", "fp16", "int8" ...); two a MAC.
        bytes_per_s: read and written.
    """

    operations: Mapping[str, float]
    bytes_per_s: float

    def arithmetic_ms(self, macs: float, precision: str) -> float:
        """Milliseconds of ``macs`` at the peak of a precision.

        Raises:
            KeyError: the machine has no such peak.
        """
        return 2e3 * macs / self.operations[precision]

    def traffic_ms(self, moved: float) -> float:
        """Milliseconds of ``moved`` bytes at the bandwidth."""
        return 1e3 * moved / self.bytes_per_s

    def floor_ms(self, macs: float, moved: float, precision: str) -> float:
        """The longer of the two."""
        return max(self.arithmetic_ms(macs, precision), self.traffic_ms(moved))
