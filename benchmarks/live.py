"""Lines as they come: ``python -m benchmarks.live --bundle runs/.../bundle --threads 1``.

What the live mode of a bundle achieves end to end, written to disk, against the same model in a
bare loop: the same session on the same tiles, whose answers stay in memory. Both take turns in one
process. *network* and *writing* are the busy time of these threads; *processor* is what all of
them take of the cores. Then the rate that the live mode said it sustains is put to the test, at
0.95 and 1.05 of it. Run it alone on a machine; nothing is saved but ``--json``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgesr_jetson.board.contents import Bundle, Model, open_bundle, read_manifest
from edgesr_jetson.board.live import Live, LivePlan
from edgesr_jetson.board.live_blocks import Schedule
from edgesr_jetson.board.live_output import LineWriter
from edgesr_jetson.board.live_setup import Way, choose_way, lines_of, make_plan
from edgesr_jetson.board.live_source import ArraySource
from edgesr_jetson.board.live_tiles import Former
from edgesr_jetson.board.native import in_form, native_network
from edgesr_jetson.board.options import parse_options
from edgesr_jetson.board.ort import OrtBackend
from edgesr_jetson.board.runner import Runner

SHARES = (0.95, 1.05)


@dataclass(frozen=True)
class Bench:
    """One model of a bundle with a source of lines."""

    bundle: Bundle
    runner: Runner
    way: Way
    lines: np.ndarray
    words: list[str]

    def source(self) -> ArraySource:
        """The lines from the first on, as all bands of the sensor."""
        return ArraySource("lines", self.lines, "bil")

    def plan(self, line_rate_hz: float | None = None) -> LivePlan:
        """As ``run.py --live`` would run."""
        rate = [] if line_rate_hz is None else ["--line-rate", f"{line_rate_hz:.9g}"]
        return make_plan(self.bundle, self.source(), parse_options([*self.words, *rate]))

    def bare(self) -> float:
        """Lines a second of a loop over tiles that lie there, into one answer."""
        plan, source = self.plan(), self.source()
        schedule = Schedule(plan.block_lines, plan.before, plan.after)
        former = Former(source, self.way.numbers, schedule, plan.grid)
        slot, cut = former.slot(), None
        while cut is None and source.read(former.item(), lambda: False):
            cut = former.add(0.0)
        if cut is None:
            raise SystemExit(f"{len(self.lines)} lines make no block; give more --lines")
        former.form(cut, slot)
        tiles = [self._given(tile) for tile in slot.tiles]
        shape = self.bundle.output_shape(former.shape)
        answer = self._given(np.zeros(shape, self.way.numbers.answer_dtype))
        self.runner.prepare(tiles[0].shape)
        self.runner.infer_into(tiles[0], answer)
        blocks = max(1, len(self.lines) // schedule.new)
        began = time.perf_counter()
        for _ in range(blocks):
            for tile in tiles:
                self.runner.infer_into(tile, answer)
        return blocks * schedule.new / (time.perf_counter() - began)

    def live(self, folder: Path, line_rate_hz: float | None = None) -> dict[str, Any]:
        """The report of a live run that writes; ``lines_hz`` is what it achieved."""
        numbers, source = self.way.numbers, self.source()
        with LineWriter(folder / "out.img", lines_of(self.bundle, source, numbers)) as writer:
            figures = Live(
                self.bundle, self.runner, source, numbers, self.plan(line_rate_hz), writer
            ).run()
            report = figures.report(line_rate_hz)
            began = time.perf_counter()
            writer.finish(figures.received)
            synced = time.perf_counter() - began
        processed = report["lines"]["processed"]
        return {
            **report,
            "lines_hz": processed / report["seconds"],
            "lines_on_disk_hz": processed / (report["seconds"] + synced),
        }

    def _given(self, tile: np.ndarray) -> np.ndarray:
        if not self.way.numbers.as_bytes:
            return tile
        return tile.view(np.uint8).reshape(*tile.shape, tile.itemsize)


def sensor_lines(bundle: Bundle, model: Model, count: int, width: int) -> np.ndarray:
    """Smooth lines [count, C, width] of all bands, within the normalisation, in the native type."""
    card = bundle.card
    dtype = model.native.input_dtype if model.native else "float32"
    bands = card.count or bundle.bands
    rows, cols = np.mgrid[0:count, 0:width]
    share = (0.5 + 0.25 * np.sin(rows / 5) + 0.2 * np.cos(cols / 7)).astype(np.float32)
    low, high = np.zeros(bands, np.float32), np.ones(bands, np.float32)
    if card.lower is not None and card.upper is not None:
        chosen = list(card.index or range(bundle.bands))
        low[chosen], high[chosen] = card.lower, card.upper
    lines = share[:, None] * (high - low)[None, :, None] + low[None, :, None]
    return lines.astype(dtype)


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Bench]:
    """The model with its session; the native one where the bundle has it for this runtime."""
    folder = options.bundle
    bundle = open_bundle(folder, read_manifest(folder))
    backend = OrtBackend(options.threads)
    names = {model.name: model for model in bundle.models}
    model = in_form(names[options.model or next(iter(names))], backend.as_bytes)
    lines = sensor_lines(bundle, model, options.lines, options.width)
    words = ["--live", "lines"]
    if options.block_lines:
        words += ["--block-lines", str(options.block_lines)]
    source = ArraySource("lines", lines, "bil")
    way = choose_way(bundle, model, source, parse_options(words), backend.as_bytes)
    used = native_network(bundle, model) if way.native is True else (bundle, model)
    runner, _ = backend.open(*used)
    try:
        yield Bench(bundle, runner, way, lines, words)
    finally:
        runner.close()


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures; the first round of each does not count."""
    with opened(options) as bench:
        bare, live = [], []
        for _ in range(options.rounds + 1):
            bare.append(bench.bare())
            live.append(bench.live(folder))
        bare, live = bare[1:], live[1:]
        said = _median(one["sustainable_line_rate_hz"] for one in live)
        driven = {share: bench.live(folder, share * said)["lines"] for share in SHARES}
        plan = bench.plan()
    stages = [one["stages_per_line_ms"] for one in live]
    parts = [one["parts_per_line_ms"] for one in live]
    achieved, raw = _median(one["lines_hz"] for one in live), _median(bare)
    ratios = [one["lines_hz"] / loop for one, loop in zip(live, bare, strict=True)]
    return {
        "bundle": str(options.bundle),
        "model": options.model or bench.bundle.models[0].name,
        "native_model": bench.way.native,
        "threads": options.threads,
        "width": options.width,
        "lines": options.lines,
        "rounds": options.rounds,
        "tile": [plan.block_lines, plan.grid.width],
        "columns": len(plan.grid.columns),
        "written_type": bench.way.numbers.written.name,
        "bare_lines_hz": raw,
        "live_lines_hz": achieved,
        "live_on_disk_lines_hz": _median(one["lines_on_disk_hz"] for one in live),
        "ratio": _median(ratios),
        "ratios": ratios,
        "stages_per_line_ms": {key: _median(one[key] for one in stages) for key in stages[0]},
        "parts_per_line_ms": {key: _median(one[key] for one in parts) for key in parts[0]},
        "sustainable_line_rate_hz": said,
        "dropped": {f"{share:g}": lines["dropped"] for share, lines in driven.items()},
    }


def _median(values: Any) -> float:
    return float(np.median(list(values)))


def render(found: dict[str, Any]) -> str:
    """The figures as a table."""
    height, width = found["tile"]
    native = "native" if found["native_model"] is True else found["native_model"]["absent"]
    stages = ", ".join(f"{key} {value:.3f}" for key, value in found["stages_per_line_ms"].items())
    parts = ", ".join(f"{key} {value:.3f}" for key, value in found["parts_per_line_ms"].items())
    dropped = ", ".join(
        f"{count} of {found['lines']} at {share}" for share, count in found["dropped"].items()
    )
    rows = {
        "model": f"{found['model']} ({native}), {found['threads']} threads",
        "lines": f"{found['width']} samples, {found['columns']} columns of {height} x {width}",
        "bare loop": f"{found['bare_lines_hz']:.1f} lines/s",
        "live, written": f"{found['live_lines_hz']:.1f} lines/s",
        "and on disk": f"{found['live_on_disk_lines_hz']:.1f} lines/s",
        "ratio": f"{found['ratio']:.3f}, median of {found['rounds']} rounds",
        "stages": f"{stages} ms a line",
        "parts": f"{parts} ms a line",
        "sustainable": f"{found['sustainable_line_rate_hz']:.1f} lines/s; dropped {dropped}",
    }
    return "\n".join(f"{key:14} {value}" for key, value in rows.items())


def main(words: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a bundle")
    parser.add_argument("--model", help="of the bundle (default: its first)")
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime (default: 1)")
    parser.add_argument("--width", type=int, default=128, help="samples of a line (default: 128)")
    parser.add_argument("--lines", type=int, default=1280, help="of a round (default: 1280)")
    parser.add_argument("--block-lines", type=int, help="at once (default: the bundle's tile)")
    parser.add_argument("--rounds", type=int, default=5, help="that count (default: 5)")
    parser.add_argument("--folder", type=Path, help="to write in (default: a temporary one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = measure(options, Path(folder))
    print(render(found))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
