"""Latency, throughput, and how both hold up when the board gets hot."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np

from .errors import absent
from .power import PowerMeter, energy
from .runner import Runner

Clock = Callable[[], float]


@dataclass(frozen=True)
class Plan:
    """How to measure.

    Attributes:
        warmup: runs before, not measured.
        repeats: measured runs of each latency.
        duration_s: length of the sustained run; 0 leaves it out.
        idle_s: how long the idle board is watched before, for the power it takes then.
        power_interval_s: time between two samples of power.
    """

    warmup: int
    repeats: int
    duration_s: float
    idle_s: float
    power_interval_s: float


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Median, p95, p99, least and greatest of times, in milliseconds, and their number."""
    times = np.asarray(seconds, dtype=np.float64) * 1e3
    p50, p95, p99 = np.percentile(times, (50, 95, 99))
    return {
        "median": float(p50),
        "p95": float(p95),
        "p99": float(p99),
        "min": float(times.min()),
        "max": float(times.max()),
        "repeats": len(times),
    }


def latency(runner: Runner, tile: np.ndarray, plan: Plan) -> dict[str, Any]:
    """Time one frame, with and without the way from and to host memory.

    ``without_transfers`` is the computation on data that lies on the device;
    ``with_transfers`` starts with float32 in host memory and ends with float32 in host memory.
    """
    runner.prepare(tile.shape)
    runner.load(tile)
    bare = _times(runner.run, plan)
    whole = _times(lambda: runner.infer(tile), plan)
    return {
        "input_shape": list(tile.shape),
        "warmup": plan.warmup,
        "without_transfers": summary(bare),
        "with_transfers": summary(whole),
    }


def throughput(
    seconds_per_frame: float, input_shape: Sequence[int], scale: int
) -> dict[str, float]:
    """Frames, input lines, and output megapixels (of all bands at once) per second."""
    height, width = input_shape[2:]
    frames = 1.0 / seconds_per_frame
    return {
        "frames_per_s": frames,
        "input_lines_per_s": frames * height,
        "output_megapixels_per_s": frames * height * width * scale**2 / 1e6,
    }


def sustained(
    runner: Runner, tile: np.ndarray, plan: Plan, meter: PowerMeter, idle: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run frame after frame for ``plan.duration_s``; returns the run, and its power and energy.

    ``slowdown`` is the median of the last tenth of the frames over that of the first: above 1 the
    board throttled.
    """
    if plan.duration_s <= 0:
        reason = absent("--duration 0")
        return reason, reason
    times: list[float] = []
    start = time.monotonic()
    end = start
    while end - start < plan.duration_s:
        before = time.perf_counter()
        runner.infer(tile)
        times.append(time.perf_counter() - before)
        end = time.monotonic()
    per_frame = (end - start) / len(times)
    tenth = max(1, len(times) // 10)
    first, last = (float(np.median(part)) for part in (times[:tenth], times[-tenth:]))
    run = {
        "seconds": end - start,
        "frames": len(times),
        "latency_ms": summary(times),
        "first_tenth_median_ms": first * 1e3,
        "last_tenth_median_ms": last * 1e3,
        "slowdown": last / first,
        "frames_per_s": 1.0 / per_frame,
    }
    return run, energy(meter.between(start, end), idle, per_frame)


def idle_power(meter: PowerMeter, seconds: float) -> dict[str, Any]:
    """Power of the board doing nothing, before any network is loaded."""
    if meter.source is None:
        return meter.between(0.0, 0.0)
    if seconds <= 0:
        return absent("--idle 0")
    start = time.monotonic()
    time.sleep(seconds)
    return meter.between(start, time.monotonic())


def _times(call: Callable[[], object], plan: Plan, clock: Clock = time.perf_counter) -> list[float]:
    for _ in range(plan.warmup):
        call()
    found = []
    for _ in range(plan.repeats):
        start = clock()
        call()
        found.append(clock() - start)
    return found
