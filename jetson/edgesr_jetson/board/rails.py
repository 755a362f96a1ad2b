"""Which rails add up to the power of the whole board.

NVIDIA puts different rails on different boards, and some of them contain others. A set of rails
that no rule below knows has no total: its rails are reported one by one and never summed.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

WHOLE_BOARD = (
    "POM_5V_IN",  # Nano
    "VDD_IN",  # TX2, Xavier NX, Orin Nano, Orin NX
    "VIN",  # Thor
)
"""Rails that measure the board's input: the total is that rail alone."""

AGX_XAVIER = frozenset({"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"})
AGX_ORIN = frozenset({"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"})
AGX_ORIN_MORE = frozenset({"VDDQ_VDD2_1V8AO"})
"""Printed by the AGX Orin of JetPack 5 and 6, part of its sum where it is there."""


def total_rails(names: Set[str]) -> tuple[str, ...]:
    """Rails to sum for the whole board, empty where no rule knows the set of rails ``names``."""
    for rail in WHOLE_BOARD:
        if rail in names:
            return (rail,)
    if names == AGX_XAVIER:
        return tuple(sorted(names))
    if names >= AGX_ORIN and names <= AGX_ORIN | AGX_ORIN_MORE:
        return tuple(sorted(names))
    return ()


def total_mw(rails_mw: Mapping[str, float]) -> float | None:
    """Power of the whole board in mW, None where no rule knows these rails."""
    chosen = total_rails(set(rails_mw))
    return sum(float(rails_mw[name]) for name in chosen) if chosen else None
