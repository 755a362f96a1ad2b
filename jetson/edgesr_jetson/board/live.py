"""The real use: lines come at their own rate, and the network has to keep up.

A thread takes lines from the source at the line rate and makes blocks of them; the caller's
thread super-resolves. Where blocks wait longer than the queue is long, their lines are dropped, as
a sensor's would be, and counted. Without a line rate nothing is dropped: the source waits.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import Any, Iterator, Union

from .contents import Bundle
from .errors import BoardError, absent
from .live_blocks import Block, TimedLine, blocks_of_lines, blocks_of_tiles
from .live_output import LineWriter
from .live_source import Normalisation, Source
from .measure import summary
from .power import PowerMeter, energy
from .runner import Runner

PRISMA_LINE_MS = 4.34
DPSR_LINE_MS = 4.25
PUBLISHED = (
    "DPSR, Remote Sensing 2025, 17(21):3634: 4.25 ms a line on a Jetson Orin Nano at 15 W, "
    "against the 4.34 ms in which the PRISMA instrument takes a line"
)

_ENDED = None
_Item = Union[Block, BaseException, None]


@dataclass(frozen=True)
class LivePlan:
    """How to run.

    Attributes:
        line_rate_hz: lines a second; None takes what comes, as fast as it is worked off.
        block_lines: height of a block.
        context: lines on either side of a block that are only seen.
        queue_blocks: finished blocks that may wait.
        max_lines: stop after so many; None runs to the end of the source.
    """

    line_rate_hz: float | None
    block_lines: int
    context: int
    queue_blocks: int
    max_lines: int | None


class Feed:
    """The thread that takes lines in; iterate over it for blocks.

    Attributes:
        received: lines taken from the source.
        dropped: lines of blocks that found the queue full.
        holed: lines or tiles with nodata, which the network sees as 0.
    """

    def __init__(self, source: Source, normalisation: Normalisation, plan: LivePlan) -> None:
        self.received = self.dropped = self.holed = 0
        self._source, self._normalisation, self._plan = source, normalisation, plan
        self._queue: queue.Queue[_Item] = queue.Queue(maxsize=plan.queue_blocks)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)

    def start(self) -> None:
        """Begin to take lines."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more lines; the thread ends at the next one, or with the program."""
        self._stopping.set()

    def __iter__(self) -> Iterator[Block]:
        while True:
            try:
                item = self._queue.get(timeout=0.1)
            except queue.Empty:
                continue
            if item is _ENDED:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _take(self) -> None:
        plan = self._plan
        end: _Item = _ENDED
        try:
            items = self._timed()
            blocks = (
                blocks_of_tiles(items)
                if self._source.is_tiles
                else blocks_of_lines(items, plan.block_lines, plan.context)
            )
            for block in blocks:
                self._offer(block)
        except BoardError as error:
            end = error
        except (OSError, ValueError, MemoryError) as error:
            end = BoardError(f"{self._source.name} broke off ({error})")
        self._put(end)

    def _timed(self) -> Iterator[TimedLine]:
        plan, source = self._plan, self._source
        start = time.monotonic()
        for item in source:
            if plan.line_rate_hz is not None and not source.is_pipe:
                due = start + (self.received + source.height) / plan.line_rate_hz
                self._stopping.wait(max(0.0, due - time.monotonic()))
                arrival = due
            else:
                arrival = time.monotonic()
            if self._stopping.is_set():
                return
            self.received += source.height
            data, holed = self._normalisation.apply(item.reshape(item.shape[0], -1))
            self.holed += holed
            yield arrival, data.reshape(item.shape)
            if plan.max_lines is not None and self.received >= plan.max_lines:
                return

    def _offer(self, block: Block) -> None:
        if self._plan.line_rate_hz is None:
            self._put(block)
            return
        try:
            self._queue.put_nowait(block)
        except queue.Full:
            self.dropped += len(block.arrivals)

    def _put(self, item: _Item) -> None:
        while not self._stopping.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue


def live(
    bundle: Bundle,
    runner: Runner,
    source: Source,
    normalisation: Normalisation,
    plan: LivePlan,
    meter: PowerMeter,
    idle: dict[str, Any],
    writer: LineWriter | None,
) -> dict[str, Any]:
    """Super-resolve a source and report; Ctrl-C ends it early with the report of what was done.

    Raises:
        BoardError: the block is outside the bundle's range, the source is too short or breaks, or
            the output cannot be written.
    """
    height = source.height if source.is_tiles else plan.block_lines
    shape = (1, bundle.bands, height, source.width)
    bundle.profile.require(shape)
    runner.prepare(shape)
    runner.run()  # the first run of an engine is slow, and belongs to no line
    feed = Feed(source, normalisation, plan)
    latencies: list[float] = []
    per_line: list[float] = []
    start = time.monotonic()
    feed.start()
    interrupted = False
    try:
        for block in feed:
            before = time.monotonic()
            output = runner.infer(block.data)
            after = time.monotonic()
            fresh = len(block.arrivals)
            latencies.extend(after - arrival for arrival in block.arrivals)
            per_line.extend([(after - before) / fresh] * fresh)
            if writer is not None:
                rows = slice(block.offset * bundle.scale, (block.offset + fresh) * bundle.scale)
                writer.write(block.first, normalisation.invert(output[0][:, rows]))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        feed.stop()
    end = time.monotonic()
    if not per_line:
        raise BoardError("no line was super-resolved; let the source run longer")
    if writer is not None:
        writer.finish(feed.received)
    seconds_per_line = sum(per_line) / len(per_line)
    return {
        "source": source.name,
        "kind": "tiles" if source.is_tiles else "lines",
        "interrupted": interrupted,
        "input_shape": list(shape),
        "context_lines": 0 if source.is_tiles else plan.context,
        "seconds": end - start,
        "lines": {
            "received": feed.received,
            "processed": len(per_line),
            "dropped": feed.dropped,
            "with_nodata": feed.holed,
        },
        "latency_per_line_ms": summary(latencies),
        "processing_per_line_ms": summary(per_line),
        "sustainable_line_rate_hz": 1.0 / seconds_per_line,
        "real_time": _real_time(plan.line_rate_hz, seconds_per_line),
        "published_mark": _published(seconds_per_line),
        "power": energy(meter.between(start, end), idle, (end - start) / len(per_line), "line"),
    }


def _real_time(line_rate_hz: float | None, seconds_per_line: float) -> dict[str, Any]:
    if line_rate_hz is None:
        return absent("no --line-rate was given")
    period_ms, spent_ms = 1e3 / line_rate_hz, seconds_per_line * 1e3
    return {
        "line_rate_hz": line_rate_hz,
        "line_period_ms": period_ms,
        "margin_ms": period_ms - spent_ms,
        "load": spent_ms / period_ms,
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
