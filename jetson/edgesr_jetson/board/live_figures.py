"""What a live run costs, everything counted that its user pays for.

Three stages work at once: reading (taking lines, forming tiles), the network (copies included),
writing (joining, converting, writing). The rate that a pipeline sustains is that of its slowest
stage **while the others run**: the time in which it was not waiting for them, over the lines that
it got done. Where all share the cores of a processor, it is no more than these allow.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

from .clock import Clock
from .errors import BoardError, absent
from .live_tiles import Block
from .measure import summary

PARTS = ("read", "prepare", "run", "finish", "write")
PRISMA_LINE_MS = 4.34
DPSR_LINE_MS = 4.25
PUBLISHED = (
    "DPSR, Remote Sensing 2025, 17(21):3634: 4.25 ms a line on a Jetson Orin Nano at 15 W, "
    "against the 4.34 ms in which the PRISMA instrument takes a line"
)


@dataclass
class Stage:
    """One thread.

    Attributes:
        waited: seconds in which it could do nothing.
        busy: seconds in which it worked.
        blocks: that it got done.
    """

    waited: float = 0.0
    busy: float = 0.0
    blocks: int = 0

    def end(self, seconds: float) -> None:
        """Close the account of a thread that ran for ``seconds``."""
        self.busy = max(0.0, seconds - self.waited)


@dataclass
class Figures:
    """What a run counted.

    Attributes:
        new_lines: new lines of a block in the middle.
        received: lines taken from the source.
        dropped: lines of blocks that found no free tiles.
        holed: lines with nodata.
        outside: share of the values outside the training range; None where that is unknown.
        latencies: seconds from a line's arrival to its being written.
        spent: seconds of work for a line, all stages together.
        parts: seconds of all lines, by part.
    """

    new_lines: int
    received: int = 0
    dropped: int = 0
    holed: int = 0
    outside: float | None = None
    interrupted: bool = False
    began: float = 0.0
    ended: float = 0.0
    processor: float = 0.0
    reading: Stage = field(default_factory=Stage)
    network: Stage = field(default_factory=Stage)
    writing: Stage = field(default_factory=Stage)
    latencies: array[float] = field(default_factory=lambda: array("d"))
    spent: array[float] = field(default_factory=lambda: array("d"))
    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    def start(self, clock: Clock) -> None:
        """The first line may come."""
        self.began, self.processor = clock.now(), clock.processor()

    def end(self, clock: Clock) -> None:
        """The last line is written."""
        self.ended, self.processor = clock.now(), clock.processor() - self.processor

    def add(self, block: Block, written: float) -> None:
        """Count a block that was written."""
        count = block.cut.count
        self.latencies.extend((written - block.arrivals).tolist())
        self.spent.extend([sum(block.spent.values()) / count] * count)
        for part, seconds in block.spent.items():
            self.parts[part] += seconds

    def seconds_per_line(self) -> dict[str, float]:
        """What each stage takes for a line, and the processor for all of them."""
        lines = self.new_lines
        return {
            "reading": self.reading.busy / max(1, self.received),
            "network": self.network.busy / max(1, self.network.blocks * lines),
            "writing": self.writing.busy / max(1, self.writing.blocks * lines),
            "processor": self.processor / max(1, self.network.blocks * lines),
        }

    def report(self, line_rate_hz: float | None) -> dict[str, Any]:
        """The figures, see ``result.schema.json``.

        Raises:
            BoardError: no line was super-resolved.
        """
        if not self.spent:
            raise BoardError("no line was super-resolved; let the source run longer")
        by_stage = self.seconds_per_line()
        slowest = max(by_stage, key=lambda stage: by_stage[stage])
        per_line, count = by_stage[slowest], len(self.spent)
        seconds = self.ended - self.began
        parts = {part: 1e3 * self.parts[part] / count for part in PARTS}
        parts["wait"] = 1e3 * max(0.0, seconds / count - per_line)
        return {
            "interrupted": self.interrupted,
            "seconds": seconds,
            "lines": {
                "received": self.received,
                "processed": count,
                "dropped": self.dropped,
                "with_nodata": self.holed,
            },
            "outside_training_range": (
                absent("the bundle does not know it") if self.outside is None else self.outside
            ),
            "latency_per_line_ms": summary(self.latencies),
            "processing_per_line_ms": summary(self.spent),
            "parts_per_line_ms": parts,
            "stages_per_line_ms": {stage: 1e3 * spent for stage, spent in by_stage.items()},
            "limited_by": slowest,
            "sustainable_line_rate_hz": 1.0 / per_line,
            "real_time": _real_time(line_rate_hz, per_line, self.dropped),
            "published_mark": _published(per_line),
        }


def _real_time(line_rate_hz: float | None, seconds_per_line: float, dropped: int) -> dict[str, Any]:
    if line_rate_hz is None:
        return absent("no --line-rate was given")
    period_ms, spent_ms = 1e3 / line_rate_hz, seconds_per_line * 1e3
    return {
        "line_rate_hz": line_rate_hz,
        "line_period_ms": period_ms,
        "margin_ms": period_ms - spent_ms,
        "load": spent_ms / period_ms,
        "kept_up": dropped == 0,
    }


def _published(seconds_per_line: float) -> dict[str, Any]:
    """Compare with the one published figure; its swath, bands and network are its own."""
    spent_ms = seconds_per_line * 1e3
    return {
        "source": PUBLISHED,
        "prisma_line_ms": PRISMA_LINE_MS,
        "dpsr_line_ms": DPSR_LINE_MS,
        "margin_to_prisma_ms": PRISMA_LINE_MS - spent_ms,
        "keeps_up_with_prisma": spent_ms <= PRISMA_LINE_MS,
    }
