"""What native numbers cost: ``python -m benchmarks.native --threads 2``.

The float file alone, the native file, and the float file with numpy around it, on ONNX Runtime and,
where it is here, OpenVINO; all in turn. Run it alone on a machine; nothing is saved.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from edgesr_export.chain import convert
from edgesr_export.model_file import load_model, write_model
from edgesr_export.native import NativeIO, make_native
from edgesr_export.onnx import export_onnx
from edgesr_export.targets import Target, find_target

from benchmarks.interleave import Budget, times_in_turn
from benchmarks.names import BLOCKS, SCALE
from benchmarks.zoo import build, plausible_tiles

NODATA = 0
Network = Callable[[np.ndarray], np.ndarray]


def main(words: list[str] | None = None) -> None:
    """Measure and print one line a form."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.native", description=__doc__)
    parser.add_argument("--network", default="R=32", help="of the benchmarks (default: R=32)")
    parser.add_argument("--bands", type=int, default=151)
    parser.add_argument("--side", type=int, default=64, help="of the LR tile (default: 64)")
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=60, help="for all rounds (default: 60)")
    options = parser.parse_args(words)
    tile = plausible_tiles(1, options.bands, options.side)
    lower, upper = 100 + np.arange(options.bands), 3000 + 20 * np.arange(options.bands)
    column = (1, options.bands, 1, 1)
    image = tile * (upper - lower).reshape(column) + lower.reshape(column)
    calls: dict[str, Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = folder / "plain.onnx"
        network = build(options.network, bands=options.bands, blocks=options.blocks)
        export_onnx(network, torch.rand(1, options.bands, 16, 16), plain, rewrite=False)
        for target in (find_target("cpu"), find_target("openvino")):
            if why := target.cannot_run():
                print(f"{target.label}: {why}")
                continue
            path = folder / f"{target.name}.onnx"
            convert(plain, path, target=target.name)
            io = _io(lower, upper)
            float_run = target.open(path, options.threads)
            calls[f"{target.label} | float alone"] = partial(float_run, tile)
            numbers = np.rint(image).astype(np.uint16)
            calls[f"{target.label} | numpy around it"] = partial(_around, float_run, io, numbers)
            for label, nodata in (("native", None), ("native, nodata", NODATA)):
                run = _native(path, _io(lower, upper, nodata), target, options.threads)
                calls[f"{target.label} | {label}"] = partial(run, numbers)
        times = times_in_turn(calls, Budget(options.seconds))
    _print({form: float(np.median(spans)) * 1e3 for form, spans in times.items()})


def _io(lower: np.ndarray, upper: np.ndarray, nodata: float | None = None) -> NativeIO:
    bounds = tuple(lower.tolist()), tuple(upper.tolist())
    return NativeIO(*bounds, len(lower), None, "uint16", "uint16", nodata, bounds[0], SCALE)


def _native(path: Path, io: NativeIO, target: Target, threads: int) -> Network:
    made = path.with_suffix(".native.onnx")
    write_model(make_native(load_model(path), io, fused=target.quantises), made)
    return target.open(made, threads)


def _around(run: Network, io: NativeIO, numbers: np.ndarray) -> np.ndarray:
    """What the native file does, by numpy, in place where that is possible."""
    column = (1, io.bands, 1, 1)
    lower = np.array(io.lower, np.float32).reshape(column)
    span = np.array(io.upper, np.float32).reshape(column) - lower
    x = numbers.astype(np.float32)
    x -= lower
    x /= span
    y = run(np.clip(x, 0, 1, out=x))
    y = np.multiply(y, span, out=y)
    y += lower
    np.rint(y, out=y)
    return np.clip(y, 0, 65535, out=y).astype(np.uint16)


def _print(median_ms: dict[str, float]) -> None:
    print("median of all rounds")
    for form, ms in median_ms.items():
        alone = median_ms[f"{form.split(' | ')[0]} | float alone"]
        print(f"{form:48}{ms:8.1f} ms  {ms / alone:5.2f} x the float file alone")


if __name__ == "__main__":
    main()
