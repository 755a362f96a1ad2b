"""MNN, from the ONNX file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers.inputs import Inputs
from benchmarks.peers.peer import Call, Environment, Made, Peer, register

if TYPE_CHECKING:
    import numpy as np


def converted(inputs: Inputs, output: Path) -> Iterator[Made]:
    """By the module behind ``mnnconvert``: the command itself installs a package that reports."""
    import _tools

    file = output / "network.mnn"
    words = ["mnnconvert", "-f", "ONNX", "--modelFile", str(inputs.onnx)]
    _tools.mnnconvert([*words, "--MNNModel", str(file), "--bizCode", "edgesr"])
    if not file.is_file():
        raise RuntimeError("mnnconvert wrote no file")
    yield Made("", file)


def opened(file: Path, threads: int) -> Call:
    """On the CPU, in float32."""
    import MNN
    import numpy as np

    settings = {"backend": "CPU", "precision": "normal", "numThread": threads}
    manager = MNN.nn.create_runtime_manager((settings,))
    network = MNN.nn.load_module_from_file(str(file), [], [], runtime_manager=manager)

    def call(image: np.ndarray) -> np.ndarray:
        given = MNN.expr.const(image, image.shape, MNN.expr.NCHW)
        found = MNN.expr.convert(network.forward([given])[0], MNN.expr.NCHW)
        return np.array(found.read())

    return call


register(
    Peer(
        "mnn",
        "MNN",
        "mnnconvert -f ONNX (without its telemetry); CPU, precision normal",
        "https://mnn-docs.readthedocs.io/en/latest/tools/convert.html",
        converted,
        Environment("mnn", ("MNN==3.6.1", "numpy>=2")),
        open=opened,
        runtimes=("mnn",),
        note="What it loses, it loses in its bicubic Resize, which cuts a source coordinate below 0"
        " towards 0 where ONNX rounds it down: at scale 4 the first two rows and the first two"
        " columns of each tile are wrong. All other pixels are ONNX Runtime's to 3e-4.",
    )
)
