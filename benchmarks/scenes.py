"""Whole scenes: ``python -m benchmarks.scenes``, alone on a machine; ``make bench`` runs it, too.

Pixels a second and the peak memory of a process against the size of the scene: ``edgesr.upscale``
beside what one would write by hand. *network alone* runs the float file over the tiles that
``edgesr`` takes, but in memory already, as many at once as there are processors, on one thread
each: no reading, converting, joining or writing. *plain loop* reads the scene whole, normalises it,
runs the file tile by tile on all threads, and writes a GeoTIFF at the end. *map_blocks* does the
same per block of a dask array that rioxarray has opened. Neither of them sees beyond its tile, so
their tiles show at the seams. Each in a process of its own, all in turn, imports left out.

Without ``--model`` the network is LKCA-Net of 128 bands with an upsampler of rank 32 and random
weights. The table goes to stdout; with ``--output`` it is saved as ``NAME.md`` beside a figure
``NAME.png``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgesr_export.card import ModelCard, read_card, write_card
from edgesr_export.chain import convert
from edgesr_export.runner import open_runner

from benchmarks.fit import growth
from benchmarks.machine import machine
from benchmarks.names import BANDS, BLOCKS, RANK, SCALE
from edgesr.errors import OptionError
from edgesr.files import atomic_path

SIDES = (128, 256, 384, 512)
QUICK = (64, 128)
TILE = 64
MOST = 1.15
"""Times the network's own time that a scene may take, where the network is the slowest part."""


@dataclass(frozen=True)
class Row:
    """What was measured of a scene.

    Attributes:
        side: of the scene, LR pixels.
        pixels: of the result.
        megabytes: of the result.
        seconds: by way.
        peak: of the process, MB, by way.
    """

    side: int
    pixels: int
    megabytes: float
    seconds: dict[str, float]
    peak: dict[str, float]

    @property
    def ratio(self) -> float:
        """Wall time of edgesr by the network's own for the same tiles."""
        return self.seconds["edgesr"] / self.seconds["network alone"]


def make_model(folder: Path, *, bands: int = BANDS, blocks: int = BLOCKS) -> Path:
    """An ONNX file as a run writes it, of a network with random weights."""
    from benchmarks.zoo import build, plausible_tiles
    from edgesr.cube import Cube, make_scene
    from edgesr.deploy.inputs import write_network
    from edgesr.loading.card import make_card, trained_on
    from edgesr.loading.workload import Workload

    numbers = 100 + 3000 * plausible_tiles(1, bands, 128)[0].transpose(1, 2, 0)
    scene = make_scene(Cube(numbers.astype(np.uint16), "made"), scale=SCALE, bands="all")
    network = build(f"R={min(RANK, bands // 2)}", bands=bands, blocks=blocks)
    plain, path = folder / "plain.onnx", folder / "model.onnx"
    write_network(network, Workload(scene, network, {}, "", "made"), 32, plain)
    convert(plain, path, target="cpu")
    write_card(path, make_card(trained_on(scene, network), "made"))
    return path


def make_scene(card: ModelCard, side: int, path: Path) -> None:
    """A smooth scene [side, side, B] uint16 within the range of the training data, as ENVI."""
    import rasterio

    rows, cols = np.mgrid[0:side, 0:side]
    share = 0.5 + 0.25 * np.sin(rows / 5) + 0.2 * np.cos(cols / 7)
    low, high = np.asarray(card.native.low), np.asarray(card.native.high)
    with rasterio.open(path, "w", driver="GTiff", width=side, height=side, count=len(low),
                       dtype="uint16", interleave="band", tiled=True) as file:  # fmt: skip
        for band, (least, most) in enumerate(zip(low, high, strict=True)):
            file.write((least + share * (most - least)).astype("uint16"), band + 1)


def _edgesr(source: str, target: str, model: str) -> None:
    from edgesr.scenes.upscale import upscale

    upscale(source, target, model, memory="2GB", overwrite=True)


def _network(source: str, target: str, model: str) -> None:
    """What the network itself takes for the tiles of the scene; it prints the seconds."""
    from edgesr.scenes.grid import Grid

    card = _card(model)
    height, width = _read(source).shape[1:]
    grid = Grid.of(height, width, card.scale, card.context)
    image = np.random.default_rng(0).random((1, len(card.bands.index), *grid.tile), np.float32)
    run = open_runner(model, "onnxruntime")
    run(image)
    began = time.perf_counter()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(lambda _: run(image).shape, grid.blocks()):
            pass
    print(time.perf_counter() - began)


def _loop(source: str, target: str, model: str) -> None:
    card, data = _card(model), _read(source)
    run = open_runner(model, "onnxruntime", threads=len(os.sched_getaffinity(0)))
    result = np.empty((data.shape[0], *(side * card.scale for side in data.shape[1:])), "uint16")
    for row in range(0, data.shape[1], TILE):
        for col in range(0, data.shape[2], TILE):
            block = _block(data[:, row : row + TILE, col : col + TILE], run, card)
            r = card.scale
            result[:, row * r : (row + TILE) * r, col * r : (col + TILE) * r] = block
    _write(target, result)


def _map_blocks(source: str, target: str, model: str) -> None:
    import dask

    card = _card(model)
    run, r = open_runner(model, "onnxruntime"), card.scale
    lazy = _lazy(source)
    chunks = (lazy.chunks[0], *(tuple(one * r for one in axis) for axis in lazy.chunks[1:]))
    made = lazy.map_blocks(lambda block: _block(block, run, card), dtype="uint16", chunks=chunks)
    with dask.config.set(scheduler="threads"):
        _write(target, made.compute())


def _lazy(source: str) -> Any:
    """The scene as a dask array [B, H, W]: by rioxarray, or where it is not here as it does it."""
    chunks = {"band": -1, "y": TILE, "x": TILE}
    try:
        import rioxarray
    except ImportError:
        import dask.array

        return dask.array.from_array(_read(source), chunks=tuple(chunks.values()))
    return rioxarray.open_rasterio(source, chunks=chunks).data


def _block(block: np.ndarray, run: Any, card: ModelCard) -> np.ndarray:
    lower, upper = (
        np.asarray(one, np.float32)[:, None, None]
        for one in (card.normalisation.lower, card.normalisation.upper)
    )
    unit = ((block - lower) / (upper - lower)).clip(0, 1).astype(np.float32)
    answer = run(unit[None])[0] * (upper - lower) + lower
    return np.rint(answer).clip(0, 65535).astype(np.uint16)


def _card(model: str) -> ModelCard:
    card = read_card(model)
    assert card is not None
    return card


def _read(source: str) -> np.ndarray:
    import rasterio

    with rasterio.open(source) as file:
        found: np.ndarray = file.read()
        return found


def _write(target: str, result: np.ndarray) -> None:
    import rasterio

    bands, height, width = result.shape
    with rasterio.open(target, "w", driver="GTiff", width=width, height=height, count=bands,
                       dtype="uint16", interleave="band", tiled=True, blockxsize=256, predictor=2,
                       blockysize=256, compress="zstd", zstd_level=1) as file:  # fmt: skip
        file.write(result)


WAYS = {
    "network alone": _network,
    "edgesr": _edgesr,
    "plain loop": _loop,
    "map_blocks": _map_blocks,
}


INK = "#22303c"
STYLES = {
    "network alone": ("#8a99a8", "o--"),
    "edgesr": ("#d1495b", "o-"),
    "plain loop": ("#2e6f95", "s-"),
    "map_blocks": ("#3a7d44", "^-"),
}


def measure(way: str, source: Path, target: Path, model: str) -> tuple[float, float]:
    """Seconds of a way in a process of its own, imports left out, and its peak in MB."""
    program = (
        "import json, resource, sys, time\n"
        "from benchmarks.scenes import WAYS\n"
        "import edgesr.scenes.upscale, rasterio, onnxruntime, dask.array\n"
        "began = time.perf_counter()\n"
        f"WAYS[{way!r}](*{[str(source), str(target), model]!r})\n"
        "seconds = time.perf_counter() - began\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "print(json.dumps([seconds, peak]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    lines = done.stdout.split("\n")[:-1]
    seconds, peak = json.loads(lines[-1])
    return (float(lines[0]) if len(lines) > 1 else seconds), peak


def measure_all(model: str, sides: Sequence[int]) -> list[Row]:
    """Every way at every size."""
    card = _card(model)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for side in sides:
            source = Path(folder) / f"{side}.tif"
            make_scene(card, side, source)
            found = {way: measure(way, source, Path(folder) / "out.tif", model) for way in WAYS}
            pixels = (side * card.scale) ** 2
            rows.append(
                Row(
                    side,
                    pixels,
                    pixels * len(card.bands.index) * 2 / 1e6,
                    {way: one[0] for way, one in found.items()},
                    {way: one[1] for way, one in found.items()},
                )
            )
            print(f"{side} x {side} measured", file=sys.stderr)
    return rows


def table(rows: Sequence[Row], model: str) -> str:
    """Markdown: seconds and MB of each way, pixels a second, and how both grow."""
    card, facts = _card(model), machine()
    heads = [f"{way}, s (MB)" for way in WAYS]
    lines = [
        f"| Scene, LR | Result, MB | {' | '.join(heads)} | edgesr, pixels/s | by the network |",
        f"| --- |{' ---: |' * (len(heads) + 3)}",
    ]
    for row in rows:
        cells = [f"{row.seconds[way]:.1f} ({row.peak[way]:.0f})" for way in WAYS]
        lines.append(
            f"| {row.side} x {row.side} | {row.megabytes:.0f} | {' | '.join(cells)}"
            f" | {row.pixels / row.seconds['edgesr']:,.0f} | {row.ratio:.2f}x |"
        )
    fits = ""
    if len(rows) > 1:
        sizes = [row.pixels for row in rows]
        time_fit = growth(sizes, [row.seconds["edgesr"] for row in rows])
        memory_fit = growth(sizes, [row.peak["edgesr"] for row in rows])
        fits = (
            f" With its pixels, the time of edgesr grows to the power of {time_fit.exponent:.2f}"
            f" ({time_fit.last:.2f} at the end), its memory to that of {memory_fit.exponent:.2f}."
        )
    return (
        "\n".join(lines)
        + f"\n\nx{card.scale}, {len(card.bands.index)} bands, uint16, on {facts['cpu']},"
        f" {len(os.sched_getaffinity(0))} processors, ONNX Runtime; the whole process, imports left"
        f" out; last column: wall time by the network's own for the same tiles.{fits}"
    )


def draw(rows: Sequence[Row], path: Path) -> None:
    """A PNG of time and memory of each way against the size of the result."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    sizes = [row.megabytes for row in rows]
    panels = figure.subplots(1, 2)
    for axes, what, title in zip(
        panels, ("seconds", "peak"), ("wall time, s", "peak memory, MB"), strict=True
    ):
        for way, (colour, style) in STYLES.items():
            values = [getattr(row, what)[way] for row in rows]
            axes.loglog(sizes, values, style, color=colour, label=way, linewidth=1.8, markersize=5)
        axes.set_title(title, color=INK, fontsize=11)
        axes.set_xlabel("result, MB", color=INK)
        axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
        axes.minorticks_off()
        axes.tick_params(colors=INK, labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].legend(frameon=False, fontsize=8, labelcolor=INK)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})


def main(words: list[str] | None = None) -> int:
    """Measure and print; 1 where a scene takes too much longer than its network alone."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scenes", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", help="ONNX file of a run (default: one that is made)")
    parser.add_argument("--sides", type=int, nargs="+", help=f"LR pixels (default: {SIDES})")
    parser.add_argument("--quick", action="store_true", help="two small scenes, a small network")
    parser.add_argument("--output", type=Path, metavar="NAME", help="write NAME.md and NAME.png")
    options = parser.parse_args(words)
    sides = options.sides or (QUICK if options.quick else SIDES)
    if any(side % TILE for side in sides):
        raise OptionError(f"sides are multiples of {TILE}, which the loop by hand needs")
    with tempfile.TemporaryDirectory() as folder:
        small = {"bands": 16, "blocks": 2} if options.quick else {}
        model = options.model or str(make_model(Path(folder), **small))
        rows = measure_all(model, sides)
        text = table(rows, model)
    print(text)
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(options.output.with_suffix(".md")) as temporary:
            temporary.write_text(text + "\n", "utf-8")
        draw(rows, options.output.with_suffix(".png"))
    slow = [f"{row.side} x {row.side}: {row.ratio:.2f}x" for row in rows if row.ratio > MOST]
    if slow:
        print(f"more than {MOST} times the network's own time: {'; '.join(slow)}", file=sys.stderr)
    return int(bool(slow) and not options.quick)


if __name__ == "__main__":
    sys.exit(main())
