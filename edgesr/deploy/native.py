"""Beside every model one that takes and gives the sensor's own numbers, compared with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from edgesr_export.errors import ExportError
from edgesr_export.native import NativeIO, convert_native, io_of_file, to_native
from edgesr_export.native.io import normalising

from edgesr.deploy.variants import Model, NativeFile, Skipped
from edgesr.progress import timed_stage

SUFFIX = ".native.onnx"

Network = Callable[[np.ndarray], np.ndarray]


def native_path(path: str) -> str:
    """Of the native file beside ``path``: models/cpu-fp32.native.onnx."""
    return f"{path.removesuffix('.onnx')}{SUFFIX}"


def add_natives(
    folder: Path, models: Sequence[Model], tiles: Sequence[np.ndarray]
) -> tuple[list[Model], list[Skipped]]:
    """Make the native file of every model.

    Args:
        folder: of the run.
        models: what was made.
        tiles: real training tiles [1, B, h, w] in [0, 1], to compare on.

    Returns:
        The models with their native files, and what could not be made.
    """
    found: list[Model] = []
    absent: list[Skipped] = []
    for model in models:
        try:
            with timed_stage(f"native numbers, {model.precision} for {model.target}"):
                found.append(replace(model, native=_made(folder, model, tiles)))
        except ExportError as error:
            found.append(model)
            absent.append(
                Skipped(f"native numbers in {model.precision} for {model.target}", str(error))
            )
    return found, absent


def in_numpy(run: Network, io: NativeIO) -> Network:
    """The same without a native file: numbers converted with NumPy around a float network.

    Nodata is left out.
    """
    lower, factor = (one.reshape(-1, 1, 1) for one in normalising(io))
    span = np.subtract(io.upper, io.lower).astype(np.float32).reshape(-1, 1, 1)
    bands = slice(None) if io.selection is None else list(io.selection)

    def call(image: np.ndarray) -> np.ndarray:
        given = image[:, bands].astype(np.float32)
        given -= lower
        given *= factor
        answer = run(np.clip(given, 0, 1, out=given)) * span
        answer += lower
        if io.output_dtype == "float32":
            return answer
        kind = np.iinfo(io.output_dtype)
        np.clip(np.rint(answer, out=answer), kind.min, kind.max, out=answer)
        return answer.astype(io.output_dtype)

    return call


def _made(folder: Path, model: Model, tiles: Sequence[np.ndarray]) -> NativeFile:
    source, path = folder / model.path, native_path(model.path)
    io = io_of_file(source)
    native = [to_native(tile, io) for tile in tiles]
    chain = convert_native(
        source, folder / path, io, target=model.target, tiles_native=native, overwrite=True
    )
    links = [asdict(link) for link in chain.links[len(model.links) :]]
    return NativeFile(path, io.input_dtype, io.output_dtype, io.sensor_bands, links)
