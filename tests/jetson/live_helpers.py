"""What the tests of live use share: bundles of the tiny network, sources, and runs."""

from __future__ import annotations

import argparse
import dataclasses
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from edgesr_jetson.board.card import read_card
from edgesr_jetson.board.clock import Clock
from edgesr_jetson.board.contents import Bundle, Model, Profile, Tolerance
from edgesr_jetson.board.live import Live
from edgesr_jetson.board.live_output import LineWriter
from edgesr_jetson.board.live_setup import Way, choose_way, describe, lines_of, make_plan, open_live
from edgesr_jetson.board.live_source import ArraySource, Source
from edgesr_jetson.board.options import parse_options
from edgesr_jetson.board.runner import Runner
from jetson_fakes import BANDS, SCALE, expected

MODEL = Model("fp32", "fp32", None, None, Tolerance(1e-3, None))


def live_threads() -> list[threading.Thread]:
    """Threads that the board's program has left; other tests' may still be there."""
    targets = ((one, getattr(one, "_target", None)) for one in threading.enumerate())
    return [one for one, of in targets if getattr(of, "__module__", "").startswith("edgesr_jetson")]


def bundle(
    facts: dict[str, Any] | None = None,
    smallest: tuple[int, int] = (1, 1),
    typical: tuple[int, int] = (4, 4),
    largest: tuple[int, int] = (64, 64),
) -> Bundle:
    """A bundle of the tiny network without files."""
    profile = Profile(*((1, BANDS, *size) for size in (smallest, typical, largest)))
    facts = facts or {}
    return Bundle(None, "", {}, BANDS, SCALE, (), None, profile, facts, read_card(facts, BANDS))


def card(**changes: Any) -> dict[str, Any]:
    """Facts of a network that takes bands 1, 2 and 4 of five; native 100 to 1100 are [0, 1]."""
    found = {
        "bands": {"index": [1, 2, 4], "count": 5},
        "normalisation": {"lower": [100.0] * 3, "upper": [1100.0, 1100.0, 2100.0]},
        "nodata": None,
        "context": 0,
        **changes,
    }
    return {"card": found}


class Network(Runner):
    """The tiny network in numpy."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def prepare(self, shape: tuple[int, ...]) -> None:
        self.shapes.append(shape)

    def infer(self, tile: np.ndarray) -> np.ndarray:
        return expected(tile).astype("float32")


class Lines(ArraySource):
    """Lines [n, C, W] of an array; calls back before each."""

    def __init__(self, data: np.ndarray, before: Any = lambda number: None) -> None:
        super().__init__("lines", data, "bil")
        self._before = before

    def read(self, item, is_stopping):
        self._before(self._next)
        return super().read(item, is_stopping)


def options(source: object, *given: object) -> argparse.Namespace:
    """Options of run.py for a source."""
    return parse_options(["--live", str(source), *(str(one) for one in given)])


def prepare(found: Bundle, source: Source, given: argparse.Namespace) -> tuple[Way, Any]:
    """The way through numpy, and the plan."""
    return choose_way(found, MODEL, source, given, False), make_plan(found, source, given)


def run(
    source: Source | np.ndarray | Path,
    *given: object,
    found: Bundle | None = None,
    network: Runner | None = None,
    write: Path | None = None,
    clock: Clock | None = None,
    writer: Any = None,
) -> dict[str, Any]:
    """Run live without power and board; returns the report."""
    found = found or bundle()
    if isinstance(source, np.ndarray):
        source = ArraySource("array", source, "bil" if source.ndim == 3 else "tiles")
    chosen = options(source if isinstance(source, Path) else "x", *given)
    source = open_live(found, chosen) if isinstance(source, Path) else source
    way, plan = prepare(found, source, chosen)
    kind = lines_of(found, source, way.numbers)
    try:
        if write is not None:
            with LineWriter(write, kind) as writer:
                return _run(found, network, source, way, plan, writer, clock, chosen)
        return _run(found, network, source, way, plan, writer, clock, chosen)
    finally:
        source.close()


def _run(found, network, source, way, plan, writer, clock, chosen) -> dict[str, Any]:
    figures = Live(found, network or Network(), source, way.numbers, plan, writer, clock).run()
    report = figures.report(chosen.line_rate)
    if writer is not None:
        writer.finish(figures.received)
    return {**describe(source, plan, way), **report}


def written(path: Path, dtype: str = "<f4", bands: int = BANDS, width: int = 8) -> np.ndarray:
    """Lines of an output [n, B, W]."""
    return np.fromfile(path, dtype).reshape(-1, bands, width)


def whole(lines: np.ndarray) -> np.ndarray:
    """What the network makes of lines [n, B, W] in [0, 1] that it sees at once, [2n, B, 2W]."""
    return expected(lines.transpose(1, 0, 2)[None])[0].transpose(1, 0, 2)


def replaced(found: Bundle, **changes: Any) -> Bundle:
    """A bundle with other fields."""
    return dataclasses.replace(found, **changes)


def headers(path: Path) -> dict[str, str]:
    """Fields of an ENVI header."""
    lines: Iterable[str] = path.read_text().splitlines()[1:]
    return {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
