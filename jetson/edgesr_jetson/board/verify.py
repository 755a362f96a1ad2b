"""Does the engine compute what the desktop's network computed? Asked before anything is timed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .contents import Bundle, Model, Tolerance
from .errors import BoardError
from .runner import Runner
from .tiles import load_inputs, load_outputs


def difference(actual: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Largest absolute difference, and PSNR in dB with the range of ``expected`` as peak.

    Identical arrays have an infinite PSNR; a value that is not finite makes both NaN.
    """
    error = actual.astype(np.float64) - expected
    largest = float(np.abs(error).max())
    mean_square = float(np.mean(error**2))
    peak = float(expected.max() - expected.min()) or 1.0
    if not math.isfinite(mean_square):
        return math.nan, math.nan
    psnr = math.inf if mean_square == 0 else 10.0 * math.log10(peak**2 / mean_square)
    return largest, psnr


def check(bundle: Bundle, model: Model, runner: Runner) -> dict[str, Any]:
    """Run every reference tile of the bundle and compare with its reference output.

    Tiles that the runner does not take are left out; it takes the first.

    Returns:
        ``tiles``, ``max_abs_difference``, ``psnr_db`` (None where all are identical), and the
        ``tolerance`` that they were held against.

    Raises:
        BoardError: another shape, values that are not finite, or a difference beyond a limit.
    """
    inputs = load_inputs(bundle)
    outputs = load_outputs(bundle, model, inputs)
    largest, lowest_psnr = 0.0, math.inf
    taken = [pair for pair in zip(inputs, outputs) if runner.takes(pair[0].shape)]
    for index, (tile, expected) in enumerate(taken):
        runner.prepare(tile.shape)
        actual = runner.infer(tile)
        if actual.shape != expected.shape:
            raise BoardError(
                f"{model.name} answers {actual.shape} where the reference has {expected.shape}"
            )
        max_abs, psnr = difference(actual, expected)
        if math.isnan(max_abs):
            raise BoardError(f"{model.name} answers values that are not finite on tile {index}")
        largest, lowest_psnr = max(largest, max_abs), min(lowest_psnr, psnr)
    wrong = _beyond(model.tolerance, largest, lowest_psnr)
    if wrong:
        raise BoardError(
            f"{model.name} does not compute what the desktop's network computes: {wrong}; it was "
            "not measured"
        )
    return {
        "tiles": len(taken),
        "max_abs_difference": largest,
        "psnr_db": None if math.isinf(lowest_psnr) else lowest_psnr,
        "tolerance": vars(model.tolerance),
    }


def _beyond(tolerance: Tolerance, max_abs: float, psnr: float) -> str | None:
    if tolerance.max_abs is not None and max_abs > tolerance.max_abs:
        return f"largest difference {max_abs:.2e}, at most {tolerance.max_abs:.0e} is accepted"
    if tolerance.min_psnr_db is not None and psnr < tolerance.min_psnr_db:
        return f"PSNR {psnr:.1f} dB, at least {tolerance.min_psnr_db:g} dB is needed"
    return None
