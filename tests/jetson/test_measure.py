from __future__ import annotations

import time

import numpy as np
import pytest
from edgesr_jetson.board.contents import Tolerance
from edgesr_jetson.board.measure import Plan, latency, summary, sustained, throughput
from edgesr_jetson.board.power import PowerMeter
from edgesr_jetson.board.runner import Runner
from edgesr_jetson.board.verify import _beyond, difference


class Counting(Runner):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def prepare(self, shape):
        self.calls.append(f"prepare {shape}")

    def load(self, tile):
        self.calls.append("load")

    def run(self):
        self.calls.append("run")

    def infer(self, tile):
        self.calls.append("infer")
        time.sleep(0.001)
        return tile


def test_summary():
    times = summary([i / 1000 for i in range(1, 101)])
    assert times["median"] == pytest.approx(50.5)
    assert times["p95"] == pytest.approx(95.05)
    assert times["p99"] == pytest.approx(99.01)
    assert (times["min"], times["max"], times["repeats"]) == (1.0, 100.0, 100)


def test_transfers_are_in_one_figure_and_not_in_the_other():
    runner = Counting()
    found = latency(runner, np.zeros((1, 2, 3, 4)), Plan(2, 5, 0, 0, 1))
    assert runner.calls == ["prepare (1, 2, 3, 4)", "load", *["run"] * 7, *["infer"] * 7]
    assert found["without_transfers"]["repeats"] == found["with_transfers"]["repeats"] == 5


def test_throughput():
    found = throughput(0.02, (1, 31, 64, 100), 4)
    assert found["frames_per_s"] == pytest.approx(50)
    assert found["input_lines_per_s"] == pytest.approx(3200)
    assert found["output_megapixels_per_s"] == pytest.approx(50 * 256 * 400 / 1e6)


def test_sustained_counts_frames_and_time(tmp_path):
    with PowerMeter(tmp_path) as meter:
        run, power = sustained(Counting(), np.zeros((1, 1, 1, 1)), Plan(0, 1, 0.05, 0, 1), meter,
                               {"absent": "x"})  # fmt: skip
    assert run["seconds"] >= 0.05
    assert run["frames"] == run["latency_ms"]["repeats"] > 1
    assert run["frames_per_s"] == pytest.approx(run["frames"] / run["seconds"])
    assert "absent" in power["energy_per_frame_mj"]


def test_no_sustained_run(tmp_path):
    with PowerMeter(tmp_path) as meter:
        run, power = sustained(Counting(), np.zeros(1), Plan(0, 1, 0, 0, 1), meter, {})
    assert run == power == {"absent": "--duration 0"}


def test_slowdown_compares_the_end_with_the_beginning(tmp_path, monkeypatch):
    class Throttling(Counting):
        now = 0.0

        def infer(self, tile):
            type(self).now += 0.010 if type(self).now < 1.0 else 0.030
            return tile

    clock = lambda: Throttling.now  # noqa: E731
    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(time, "perf_counter", clock)
    with PowerMeter(tmp_path) as meter:
        run, _ = sustained(Throttling(), np.zeros(1), Plan(0, 1, 2.0, 0, 1), meter, {})
    assert run["slowdown"] == pytest.approx(3.0)
    assert run["first_tenth_median_ms"] == pytest.approx(10)


def test_difference():
    expected = np.array([[0.0, 1.0]])
    assert difference(expected, expected) == (0.0, float("inf"))
    largest, psnr = difference(expected + np.array([[0.0, 0.1]]), expected)
    assert largest == pytest.approx(0.1)
    assert psnr == pytest.approx(10 * np.log10(1 / 0.005))
    assert np.isnan(difference(expected * np.nan, expected)[0])


@pytest.mark.parametrize(
    ("tolerance", "max_abs", "psnr", "passes"),
    [
        (Tolerance(1e-3, None), 9e-4, 10.0, True),
        (Tolerance(1e-3, None), 2e-3, 99.0, False),
        (Tolerance(None, 35.0), 0.5, 36.0, True),
        (Tolerance(None, 35.0), 0.0, 34.0, False),
        (Tolerance(0.1, 35.0), 0.05, 34.0, False),
    ],
)
def test_limits(tolerance, max_abs, psnr, passes):
    assert (_beyond(tolerance, max_abs, psnr) is None) is passes
