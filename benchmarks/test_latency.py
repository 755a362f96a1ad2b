"""Latency of exported networks in ONNX Runtime on one CPU thread: trust the ratios of one run.

Random weights: they change no latency. Run with ``make bench``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.conftest import BANDS, NETWORKS
from export.runtime import session


@pytest.mark.parametrize("side", [16, 32, 64])
@pytest.mark.parametrize("rewritten", [False, True], ids=["plain", "rewritten"])
@pytest.mark.parametrize("network", NETWORKS)
def test_lkca_net(
    benchmark: Any,
    onnx_file: Callable[[str, bool], Path],
    network: str,
    rewritten: bool,
    side: int,
) -> None:
    run = session(onnx_file(network, rewritten), threads=1)
    tile = np.random.default_rng(0).random((1, BANDS, side, side), dtype=np.float32)
    benchmark.group = f"LR {side} x {side}"
    benchmark.pedantic(run, args=(tile,), rounds=9, warmup_rounds=2)
