"""Invented records."""

from __future__ import annotations

from typing import Any


def record(group: str, milliseconds: float, **facts: Any) -> dict[str, Any]:
    """As pytest-benchmark saves it, with an interquartile range of a tenth of the median."""
    seconds = milliseconds / 1e3
    rounds = facts.pop("rounds", 7)
    stats = {
        "median": seconds,
        "iqr": seconds / 10,
        "min": facts.pop("least", milliseconds) / 1e3,
        "rounds": rounds,
    }
    return {"group": group, "extra_info": facts, "stats": stats}
