"""A model file in the place of a torch module: normalised numbers in and out, whatever it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from edgesr_export.model_file import read_graph
from edgesr_export.native import NativeIO, from_bytes, recorded_io, to_bytes, to_native
from edgesr_export.runner import open_runner
from edgesr_export.sizes import input_shape

from edgesr.deploy.quality import Network, SessionModule


def open_file(path: Path, runtime: str, threads: int = 1) -> SessionModule:
    """An ONNX file as a network from [1, B, h, w] to [1, B, h r, w r] in [0, 1].

    One of native numbers is given the image as its sensor would have had it, rounded to its type,
    and what it answers is normalised again.

    Raises:
        ExportError: it cannot be read, is no network of one image, or does not run there.
    """
    io = recorded_io(read_graph(path))
    if io is None:
        shape = input_shape(path)  # before a runtime says it in its own words
        return SessionModule(open_runner(path, runtime, threads=threads), shape)
    return SessionModule(_normalised(open_runner(path, runtime, threads=threads), io))


def _normalised(run: Network, io: NativeIO) -> Network:
    """A network of native numbers as one of [0, 1]."""
    lower, upper = (np.reshape(bound, (-1, 1, 1)) for bound in (io.lower, io.upper))

    def call(image: np.ndarray) -> np.ndarray:
        tile = to_native(image, io).astype(io.input_dtype, copy=False)
        answer = run(to_bytes(tile) if io.pairs(io.input_dtype) else tile)
        if io.pairs(io.output_dtype):
            answer = from_bytes(answer, io.output_dtype)
        return ((answer - lower) / (upper - lower)).astype(np.float32)

    return call
