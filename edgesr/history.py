"""Names of figures in the history of a training, which weights, reports and checkpoints keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MPSNR, SAM = "tuning_mpsnr", "tuning_sam"
"""On tuning blocks: in dB, and in degrees."""
_EARLIER = {"val_mpsnr": MPSNR, "val_sam": SAM}


def todays_names(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a history, or ``best``, of a file that may be old: the same, by today's names."""
    return {_EARLIER.get(name, name): value for name, value in entry.items()}
