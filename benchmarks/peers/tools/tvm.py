"""Apache TVM, from the ONNX file, compiled for each size without a search of schedules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers.inputs import Inputs
from benchmarks.peers.peer import Call, Environment, Made, Peer, register

if TYPE_CHECKING:
    import numpy as np


def converted(inputs: Inputs, output: Path) -> Iterator[Made]:
    """The file itself, once TVM has taken it."""
    compiled(inputs.onnx, inputs.calibration[:1].shape)
    yield Made("", inputs.onnx)


def opened(file: Path, threads: int) -> Call:
    """The network of each size, compiled when it comes first."""
    import os

    import numpy as np

    os.environ["TVM_NUM_THREADS"] = str(threads)
    import tvm

    made = {}

    def call(image: np.ndarray) -> np.ndarray:
        if image.shape not in made:
            made[image.shape] = compiled(file, image.shape)
        found = made[image.shape]["main"](tvm.runtime.tensor(np.ascontiguousarray(image)))
        return (found if hasattr(found, "numpy") else found[0]).numpy()

    return call


def compiled(file: Path, shape: tuple[int, ...]) -> Any:
    """A virtual machine with the network for this size."""
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    model = onnx.load(file)
    network = from_onnx(model, shape_dict={model.graph.input[0].name: list(shape)})
    network = relax.transform.DecomposeOpsForInference()(network)
    cpu = tvm.cpu()
    built = tvm.compile(network, target=tvm.target.Target.from_device(cpu))
    return relax.VirtualMachine(built, cpu)


register(
    Peer(
        "tvm",
        "TVM",
        "relax.frontend.onnx.from_onnx, tvm.compile(network, target=Target.from_device(tvm.cpu())),"
        " no tuning of schedules (its tutorial searches for hours)",
        "https://tvm.apache.org/docs/how_to/tutorials/e2e_opt_model.html",
        converted,
        Environment("tvm", ("apache-tvm==0.27.0.post1", "onnx>=1.19", "numpy>=2")),
        open=opened,
        runtimes=("tvm",),
        note="Without that search its loops stay as they are written, and one thread computes.",
    )
)
