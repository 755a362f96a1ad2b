"""Whole scenes: ``python -m benchmarks.scenes --model runs/.../model.onnx``.

Pixels a second and the peak memory of a process against the size of the scene: ``edgesr.upscale``
beside what one would write by hand. *network alone* runs the float file over tiles that are in
memory already, two at once on one thread each: no reading, converting, joining or writing. *loop*
reads the scene whole, normalises it, runs the file tile by tile on all threads, and writes a
GeoTIFF at the end. *map_blocks* does the same per block in a dask array. Each in a process of its
own, all in turn; run it alone on a machine, nothing is saved.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from edgesr_export.card import ModelCard, read_card
from edgesr_export.runner import open_runner

SIDES = (128, 256, 384, 512)
TILE = 64


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
    """What the network itself takes, for as many tiles as the scene has."""
    card = _card(model)
    side = _read(source).shape[1]
    tiles = (side // TILE) ** 2
    image = np.random.default_rng(0).random((1, len(card.bands.index), TILE, TILE), np.float32)
    run = open_runner(model, "onnxruntime")
    run(image)
    began = time.perf_counter()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(lambda _: run(image).shape, range(tiles)):
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
    import dask.array

    card, data = _card(model), _read(source)
    run, r = open_runner(model, "onnxruntime"), card.scale
    lazy = dask.array.from_array(data, chunks=(-1, TILE, TILE))
    chunks = (lazy.chunks[0], *(tuple(one * r for one in axis) for axis in lazy.chunks[1:]))
    made = lazy.map_blocks(lambda block: _block(block, run, card), dtype="uint16", chunks=chunks)
    with dask.config.set(scheduler="threads"):
        _write(target, made.compute())


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


WAYS = {"network alone": _network, "edgesr": _edgesr, "loop": _loop, "map_blocks": _map_blocks}


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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    options = parser.parse_args()
    card = _card(options.model)
    ways = " | ".join(f"{way} s | MB" for way in WAYS)
    print(f"| LR pixels | result MB | {ways} | edgesr, pixels/s | of the network alone |")
    print("| ---: " * (5 + 2 * len(WAYS) - 1) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for side in options.sides:
            source = Path(folder) / f"{side}.tif"
            make_scene(card, side, source)
            found = {
                way: measure(way, source, Path(folder) / "out.tif", options.model) for way in WAYS
            }
            pixels = (side * card.scale) ** 2
            cells = " | ".join(f"{s:.1f} | {peak:.0f}" for s, peak in found.values())
            ours, alone = found["edgesr"][0], found["network alone"][0]
            size = pixels * len(card.bands.index) * 2 / 1e6
            print(
                f"| {side} x {side} | {size:.0f} | {cells} | {pixels / ours:,.0f}"
                f" | {ours / alone:.2f}x |",
                flush=True,
            )


if __name__ == "__main__":
    main()
