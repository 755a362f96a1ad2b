"""What a live run says of itself, on a clock on which work takes exactly as long as it says."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from jetson_fakes import BANDS
from live_helpers import Lines, Network, bundle, run
from virtual_clock import VirtualClock

WIDTH, BLOCK = 4, 8


class Working(Network):
    """A network that takes ``seconds`` a tile."""

    def __init__(self, clock: VirtualClock, seconds: float) -> None:
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def infer(self, tile):
        self.clock.sleep(self.seconds)
        return super().infer(tile)


class Disk:
    """A writer that takes ``seconds`` a block."""

    def __init__(self, clock: VirtualClock, seconds: float) -> None:
        self.clock, self.seconds, self.starts = clock, seconds, []

    def write(self, first, lines):
        self.clock.sleep(self.seconds)
        self.starts.append(first)

    def finish(self, lines):
        self.lines = lines


def measure(read=0.0, compute=0.0, write=0.0, lines=400, options=(), found=None, width=WIDTH):
    """Report of a run on work of so many seconds: a line, a tile, a block."""
    clock = VirtualClock()
    data = np.full((lines, BANDS, width), 0.5, np.float32)
    source = Lines(data, lambda number: clock.sleep(read))
    writer = Disk(clock, write)
    given = ("--normalised", "--block-lines", BLOCK, *options)
    report = run(source, *given, found=found, network=Working(clock, compute), clock=clock,
                 writer=writer)  # fmt: skip
    return report, writer


CASES = {
    "network": {"read": 0.0005, "compute": 0.016, "write": 0.008},
    "writing": {"read": 0.0005, "compute": 0.016, "write": 0.024},
    "reading": {"read": 0.003, "compute": 0.016, "write": 0.008},
}


@pytest.mark.parametrize("limit", CASES)
def test_the_rate_is_that_of_the_slowest_stage(limit):
    work = CASES[limit]
    report, _ = measure(**work)
    slowest = max(work["read"], work["compute"] / BLOCK, work["write"] / BLOCK)
    assert report["limited_by"] == limit
    assert report["sustainable_line_rate_hz"] == pytest.approx(1 / slowest, rel=0.01)
    parts = report["parts_per_line_ms"]
    assert parts["read"] == pytest.approx(1e3 * work["read"])
    assert parts["run"] == pytest.approx(1e3 * work["compute"] / BLOCK)
    assert parts["write"] == pytest.approx(1e3 * work["write"] / BLOCK)
    assert report["processing_per_line_ms"]["median"] == pytest.approx(
        1e3 * (work["read"] + (work["compute"] + work["write"]) / BLOCK)
    )


@pytest.mark.parametrize("limit", ["network", "writing"])
@pytest.mark.parametrize("context", [0, 2])
def test_no_line_is_dropped_below_the_rate_and_some_are_above_it(limit, context):
    options = ("--context", context)
    said = measure(**CASES[limit], options=options)[0]["sustainable_line_rate_hz"]
    lines = 1600
    slower, _ = measure(**CASES[limit], lines=lines,
                        options=(*options, "--line-rate", 0.95 * said))  # fmt: skip
    faster, writer = measure(**CASES[limit], lines=lines,
                             options=(*options, "--line-rate", 1.05 * said))  # fmt: skip
    assert slower["lines"]["dropped"] == 0
    assert slower["real_time"]["kept_up"] is True
    assert slower["real_time"]["load"] == pytest.approx(0.95, rel=0.02)
    assert slower["real_time"]["margin_ms"] > 0
    assert 0 < faster["lines"]["dropped"] < 0.1 * lines
    assert faster["real_time"]["kept_up"] is False
    assert faster["real_time"]["load"] == pytest.approx(1.05, rel=0.02)
    assert faster["real_time"]["margin_ms"] < 0
    assert faster["lines"]["processed"] + faster["lines"]["dropped"] == lines
    assert writer.lines == lines
    for report in (slower, faster):
        assert report["limited_by"] == limit
        assert report["sustainable_line_rate_hz"] == pytest.approx(said, rel=0.02)


def test_columns_cost_what_they_cost():
    narrow = bundle(typical=(8, 4), largest=(8, 4))
    report, _ = measure(compute=0.01, found=narrow, width=11)
    assert report["columns"] == 4  # 4 + 3 + 3 + 3 samples, one of them shared
    assert report["sustainable_line_rate_hz"] == pytest.approx(BLOCK / 0.04, rel=0.01)


def test_latency_is_from_arrival_to_written():
    report, _ = measure(compute=0.016, write=0.008, lines=BLOCK, options=("--line-rate", 1000))
    latency = report["latency_per_line_ms"]
    assert latency["min"] == pytest.approx(24)  # of the last line of the block
    assert latency["max"] == pytest.approx(24 + BLOCK - 1)


def test_a_source_at_its_own_rate_is_not_the_limit():
    report, _ = measure(compute=0.004, options=("--line-rate", 100))
    assert report["limited_by"] == "network"
    assert report["sustainable_line_rate_hz"] == pytest.approx(BLOCK / 0.004, rel=0.01)
    assert report["real_time"]["load"] == pytest.approx(100 * 0.004 / BLOCK, rel=0.01)
    assert report["parts_per_line_ms"]["wait"] == pytest.approx(10 - 0.5, rel=0.05)


def test_a_wait_that_ctrl_c_ends_is_no_work():
    class Interrupted(VirtualClock):
        is_due = True

        def wait(self, until=None):
            is_main = threading.current_thread() is threading.main_thread()
            if self.is_due and is_main and self.now() > 1.5:
                self.is_due = False
                raise KeyboardInterrupt
            super().wait(until)

    clock = Interrupted()
    data = np.full((400, BANDS, WIDTH), 0.5, np.float32)
    source = Lines(data, lambda number: clock.sleep(0.01))
    report = run(source, "--normalised", "--block-lines", BLOCK, network=Working(clock, 0.001),
                 clock=clock)  # fmt: skip
    assert report["interrupted"] is True
    assert report["stages_per_line_ms"]["network"] == pytest.approx(1 / BLOCK, rel=0.01)


def test_the_processor_is_a_limit_where_all_stages_share_it():
    class Busy(VirtualClock):
        def processor(self):
            return self.now() * 0.9

    clock = Busy()
    data = np.full((80, BANDS, WIDTH), 0.5, np.float32)
    source = Lines(data, lambda number: clock.sleep(0.003))
    report = run(source, "--normalised", "--block-lines", BLOCK, network=Working(clock, 0.001),
                 clock=clock)  # fmt: skip
    assert report["stages_per_line_ms"]["processor"] == pytest.approx(2.7, rel=0.05)
    assert report["limited_by"] == "reading"


def test_the_mark_that_was_published():
    report, _ = measure(compute=0.016)
    mark = report["published_mark"]
    assert mark["margin_to_prisma_ms"] == pytest.approx(4.34 - 2.0, rel=0.01)
    assert mark["keeps_up_with_prisma"] is True


def test_a_slow_writer_drops_lines_that_keep_their_place(tmp_path: Path):
    report, writer = measure(write=0.1, lines=200, options=("--line-rate", 400))
    assert report["lines"]["dropped"] > 0
    assert writer.starts == sorted(set(writer.starts))
    assert all(start % BLOCK == 0 for start in writer.starts)
    assert len(writer.starts) * BLOCK == report["lines"]["processed"]
