"""Latency and peak memory as one thing grows: pixels, bands, scale, blocks.

Latencies of an axis are measured in turn; the memory of each point in a process of its own. The
fits and the figure are made of the records by :mod:`benchmarks.fit` and
:mod:`benchmarks.figures`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from edgesr_export.chain import convert
from edgesr_export.onnx import export_onnx
from edgesr_export.runtime import session

from benchmarks.interleave import Calls
from benchmarks.memory import peak_memory
from benchmarks.names import BANDS, BLOCKS, SCALE
from benchmarks.zoo import Zoo, build, plausible_tiles

SIDE = 32
STUDENT, ATTENTIVE = "R=32", "dacn"


@dataclass(frozen=True)
class Point:
    """One size: what is fed to which network, and where it lies on the axis."""

    x: int
    side: int = SIDE
    bands: int = BANDS
    scale: int = SCALE
    blocks: int = BLOCKS


@dataclass(frozen=True)
class Axis:
    """A thing that grows.

    Attributes:
        network: of the zoo.
        runtime: "onnx" (ONNX Runtime with slabs) or "torch" (eager).
        unit: of x.
        points: in order.
        seconds: time to measure it.
    """

    network: str
    runtime: str
    unit: str
    points: tuple[Point, ...]
    seconds: float = 8


AXES = {
    "pixels": Axis(
        STUDENT,
        "onnx",
        "LR pixels",
        tuple(Point(side * side, side=side) for side in (16, 24, 32, 48, 64, 96, 128)),
    ),
    "bands": Axis(
        STUDENT,
        "onnx",
        "bands",
        tuple(Point(bands, bands=bands) for bands in (31, 61, 128, 425)),
    ),
    "scale": Axis(
        STUDENT,
        "onnx",
        "HR pixels for an LR pixel",
        tuple(Point(scale * scale, scale=scale) for scale in (2, 3, 4, 8)),
    ),
    "blocks": Axis(
        STUDENT,
        "onnx",
        "blocks",
        tuple(Point(blocks, blocks=blocks) for blocks in (4, 16, 32)),
    ),
    "pixels, DACN": Axis(
        ATTENTIVE,
        "torch",
        "LR pixels",
        tuple(Point(side * side, side=side, bands=32) for side in (16, 24, 32, 48, 64)),
        seconds=15,
    ),
    "pixels, DACN in ONNX Runtime": Axis(
        ATTENTIVE,
        "onnx",
        "LR pixels",
        tuple(Point(side * side, side=side, bands=32) for side in (16, 24, 32, 48, 64)),
        seconds=15,
    ),
}
CASES = [(axis, point.x) for axis, what in AXES.items() for point in what.points]


class Files:
    """ONNX files of the points, each network exported once for one size of tile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[object, ...], Path] = {}

    def of(self, axis: Axis, point: Point, zoo: Zoo) -> Path:
        if (axis.network, point.bands, point.scale, point.blocks) == (
            STUDENT, BANDS, SCALE, BLOCKS,
        ):  # fmt: skip
            return zoo.file(STUDENT, "slabs")
        free = axis.network == ATTENTIVE
        key = (axis.network, point.bands, point.scale, point.blocks, None if free else point.side)
        if key not in self._made:
            model = build(axis.network, bands=point.bands, scale=point.scale, blocks=point.blocks)
            plain = self._folder / f"{len(self._made)}.plain.onnx"
            example = torch.rand(1, point.bands, point.side, point.side)
            export_onnx(model, example, plain, dynamic=free, rewrite=False)
            path = plain.with_suffix(".slabs.onnx")
            convert(plain, path, target="cpu")
            self._made[key] = path
        return self._made[key]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("scaling"))


@pytest.mark.parametrize(("axis", "x"), CASES)
def test_scaling(
    in_turn: Callable[..., None], zoo: Zoo, files: Files, threads: int, axis: str, x: int
) -> None:
    what = AXES[axis]

    def gather() -> tuple[Calls, dict[str, str]]:
        return {str(point.x): _call(what, point, files, zoo) for point in what.points}, {}

    point = next(point for point in what.points if point.x == x)
    source = files.of(what, point, zoo) if what.runtime == "onnx" else what.network
    in_turn(
        f"growth with {axis}",
        str(x),
        gather,
        seconds=what.seconds,
        axis=axis,
        x=x,
        unit=what.unit,
        network=what.network,
        runtime=what.runtime,
        input_shape=[1, point.bands, point.side, point.side],
        peak_bytes=peak_memory(what.runtime, source, point.bands, point.side, threads),
    )


def _call(axis: Axis, point: Point, files: Files, zoo: Zoo) -> Callable[[], object]:
    tile = plausible_tiles(1, point.bands, point.side)
    if axis.runtime == "onnx":
        return partial(session(files.of(axis, point, zoo), zoo.threads), tile)
    model, lr = build(axis.network, bands=point.bands), torch.from_numpy(tile)

    def run() -> None:
        with torch.inference_mode():
            model(lr)

    return run
