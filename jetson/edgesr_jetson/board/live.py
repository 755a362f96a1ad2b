"""The real use: lines come at their own rate, and the network has to keep up.

Three threads work at once: one takes lines and makes tiles of them, the caller's runs the network,
one joins the answers and writes. Where a block finds no free tiles, its lines are dropped, as a
sensor's would be, and counted. Without a line rate nothing is dropped: the source waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Tuple

import numpy as np

from .clock import Channel, Clock
from .contents import Bundle
from .errors import BoardError
from .live_blocks import Cut, Schedule
from .live_figures import Figures
from .live_grid import Grid, Overlap
from .live_join import Joiner
from .live_numbers import Numbers
from .live_output import LineWriter
from .live_source import Source
from .live_tiles import Block, Former, Slot
from .runner import Runner

_ANSWERS = 3  # one is computed, one is joined, one waits

_Answer = Tuple[Block, int, np.ndarray]
Spent = Dict[str, float]


@dataclass(frozen=True)
class LivePlan:
    """How to run.

    Attributes:
        line_rate_hz: lines a second; None takes what comes, as fast as it is worked off.
        block_lines: height of a block.
        grid: columns across the swath.
        before: lines above a block's new ones that are only seen.
        after: lines below them.
        fade: lines over which a block fades into the next.
        queue_blocks: finished blocks that may wait.
        max_lines: stop after so many; None runs to the end of the source.
    """

    line_rate_hz: float | None
    block_lines: int
    grid: Grid
    before: int = 0
    after: int = 0
    fade: int = 0
    queue_blocks: int = 2
    max_lines: int | None = None


class Live:
    """One run from a source to a writer.

    Args:
        runner: network that takes the tiles of ``numbers``.
        writer: None throws the lines away.
        clock: what time it is.

    Raises:
        BoardError: the blocks are impossible, or the network does not take them.
    """

    def __init__(
        self,
        bundle: Bundle,
        runner: Runner,
        source: Source,
        numbers: Numbers,
        plan: LivePlan,
        writer: LineWriter | None,
        clock: Clock | None = None,
    ) -> None:
        self._runner, self._source, self._plan, self._writer = runner, source, plan, writer
        self._numbers = numbers
        self._clock = clock or Clock()
        schedule = Schedule(plan.block_lines, plan.before, plan.after)
        self._former = Former(source, numbers, schedule, plan.grid)
        self._joiner = Joiner(
            numbers, plan.grid, Overlap(plan.after, plan.fade), plan.block_lines, source.width,
            bundle.bands, bundle.scale,
        )  # fmt: skip
        self.figures = Figures(new_lines=schedule.new)
        self._failure: BaseException | None = None
        self._is_stopping = False
        self._free: Channel[Slot] = Channel(self._clock, plan.queue_blocks + 1)
        self._ready: Channel[Slot] = Channel(self._clock, plan.queue_blocks + 1)
        self._empty: Channel[np.ndarray] = Channel(self._clock, _ANSWERS)
        self._done: Channel[_Answer] = Channel(self._clock, _ANSWERS)
        slots = [self._former.slot() for _ in range(plan.queue_blocks + 1)]
        runner.prepare(self._given(slots[0].tiles[0]).shape)
        for slot in slots:
            self._free.put(slot)
        for _ in range(_ANSWERS):
            shape = bundle.output_shape(self._former.shape)
            self._empty.put(np.zeros(shape, numbers.answer_dtype))

    def run(self) -> Figures:
        """Work until the source ends, or Ctrl-C; what was begun is finished.

        Raises:
            BoardError: the source is too short or broke off, or the output cannot be written.
        """
        clock, figures = self._clock, self.figures
        self._warm_up()
        figures.start(clock)
        reader = clock.start(lambda: self._guard(self._read), "lines")
        output = clock.start(lambda: self._guard(self._write), "output")
        try:
            try:
                self._compute()
            except KeyboardInterrupt:
                figures.interrupted = True
            self._stop_reading()
            self._done.close()
            clock.join(output)
        except BaseException as error:
            self._fail(error)
        finally:
            self._stop_reading()
            self._done.close()
            for thread in (reader, output):
                clock.join(thread)
        if self._failure is not None:
            raise self._failure
        figures.end(clock)
        figures.holed, figures.outside = self._former.holed, self._former.range.share()
        return figures

    def _warm_up(self) -> None:
        """The first run of an engine is slow, and belongs to no line."""
        slot, answer = self._free.get(), self._empty.get()
        if slot is not None and answer is not None:
            self._runner.infer_into(self._given(slot.tiles[0]), self._given(answer))
            self._free.put(slot)
            self._empty.put(answer)
        for channel in (self._free, self._empty):
            channel.put_waited = channel.get_waited = 0.0

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            with np.errstate(all="ignore"):
                work()
        except BaseException as error:  # the caller's thread raises it
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Keep the first error, and end all threads."""
        if self._failure is None:
            self._failure = error
        self._stop_reading()
        for channel in (self._ready, self._empty, self._done):
            channel.close(empty=True)

    def _stop_reading(self) -> None:
        self._is_stopping = True
        self._free.close(empty=True)
        self._ready.close()

    def _read(self) -> None:
        stage = self.figures.reading
        began = self._clock.now()
        try:
            self._take()
        except BoardError:
            if not self._is_stopping:  # after Ctrl-C a source may break as it likes
                raise
        except (OSError, ValueError) as error:
            raise BoardError(f"{self._source.name} broke off ({error})") from error
        self._ready.close()
        stage.waited += self._source.waited + self._free.get_waited
        stage.end(self._clock.now() - began)

    def _take(self) -> None:
        clock, figures, source = self._clock, self.figures, self._source
        spent: Spent = {"read": 0.0, "prepare": 0.0}
        while not self._is_stopping and not self._is_enough():
            due = self._pace()
            before, waited = clock.now(), source.waited
            if not source.read(self._former.item(), lambda: self._is_stopping):
                break
            came = clock.now()
            spent["read"] += came - before - (source.waited - waited)
            cut = self._former.add(came if due is None else due)
            spent["prepare"] += clock.now() - came
            figures.received += source.height
            if cut is not None:
                if not self._offer(cut, spent):
                    return
                spent = {"read": 0.0, "prepare": 0.0}
        if not self._is_stopping:
            rest = self._former.end()
            if rest is not None:
                self._offer(rest, spent)

    def _is_enough(self) -> bool:
        most = self._plan.max_lines
        return most is not None and self.figures.received >= most

    def _pace(self) -> float | None:
        """Wait until a file's next line would come; returns when, None where it comes by itself."""
        rate, clock = self._plan.line_rate_hz, self._clock
        if rate is None or self._source.is_pipe:
            return None
        due = self.figures.began + (self.figures.received + self._source.height) / rate
        before = clock.now()
        with clock.changed:
            while clock.now() < due and not self._is_stopping:
                clock.wait(due)
        self.figures.reading.waited += clock.now() - before
        return due

    def _offer(self, cut: Cut, spent: Spent) -> bool:
        """Hand a block to the network, or drop it; False where there is nobody to take it."""
        slot = self._free.get_now() if self._plan.line_rate_hz is not None else self._free.get()
        if slot is None:
            self.figures.dropped += 0 if self._is_stopping else cut.count
            return not self._is_stopping
        before = self._clock.now()
        block = self._former.form(cut, slot)
        spent["prepare"] += self._clock.now() - before
        block.spent.update(spent)
        return self._ready.put(slot)

    def _compute(self) -> None:
        clock, stage = self._clock, self.figures.network
        began = clock.now()
        try:
            for slot in iter(self._ready.get, None):
                block = slot.block
                assert block is not None
                for place, tile in enumerate(slot.tiles):
                    answer = self._empty.get()
                    if answer is None:
                        return
                    before = clock.now()
                    self._runner.infer_into(self._given(tile), self._given(answer))
                    block.add("run", clock.now() - before)
                    self._done.put((block, place, answer))
                stage.blocks += 1
                self._free.put(slot)
        finally:
            stage.waited += self._ready.get_waited + self._empty.get_waited
            stage.end(clock.now() - began)

    def _write(self) -> None:
        clock, figures, stage = self._clock, self.figures, self.figures.writing
        began = clock.now()
        last = len(self._plan.grid.columns) - 1
        for block, place, answer in iter(self._done.get, None):
            before = clock.now()
            self._joiner.add(block, place, answer)
            self._empty.put(answer)
            lines = self._joiner.finish(block) if place == last else None
            block.add("finish", clock.now() - before)
            if lines is None:
                continue
            before = clock.now()
            if self._writer is not None:
                self._writer.write(block.cut.first, lines)
            after = clock.now()
            block.add("write", after - before)
            stage.blocks += 1
            figures.add(block, after)
        stage.waited += self._done.get_waited
        stage.end(clock.now() - began)

    def _given(self, tile: np.ndarray) -> np.ndarray:
        """Numbers [1, C, h, w] as the network takes and gives them."""
        if not self._numbers.as_bytes:
            return tile
        return tile.view(np.uint8).reshape(*tile.shape, tile.itemsize)
