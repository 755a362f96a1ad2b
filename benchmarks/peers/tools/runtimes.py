"""Runtimes of edgesr's own environment, on the network as torch exports it, and torch.compile."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers.inputs import Inputs
from benchmarks.peers.peer import Call, Made, Peer, register

if TYPE_CHECKING:
    import numpy as np


def as_exported(inputs: Inputs, output: Path) -> Iterator[Made]:
    """The file that was handed over."""
    yield Made("", inputs.onnx)


def compiled(file: Path, threads: int, *, bfloat16: bool = False) -> Call:
    """The network of the folder that ``file`` lies in, compiled for every size that it meets.

    Raises:
        ExportError: bfloat16 is asked for and the CPU has none; torch would take minutes a call.
    """
    import torch
    from edgesr_export.errors import ExportError

    from edgesr.distill.precision import computes_bf16

    if bfloat16 and not computes_bf16(torch.device("cpu")):
        raise ExportError("this CPU does not compute in bfloat16")
    torch.set_num_threads(threads)
    network = torch.compile(Inputs(file.parent).network())

    def call(image: np.ndarray) -> np.ndarray:
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
        ):
            return network(torch.from_numpy(image)).float().numpy()

    return call


for name, title, runtime in (
    ("onnxruntime", "the network as exported, ONNX Runtime", "onnxruntime"),
    ("openvino", "the network as exported, OpenVINO", "openvino"),
    ("openvino-bf16", "the network as exported, OpenVINO bf16", "openvino-bf16"),
):
    register(
        Peer(
            name,
            title,
            "the plain export, one call after the other on all threads",
            "https://docs.openvino.ai/2026/openvino-workflow/running-inference.html"
            if "openvino" in name
            else "https://onnxruntime.ai/docs/performance/tune-performance/",
            as_exported,
            runtimes=(runtime,),
        )
    )
for name, title, bfloat16 in (
    ("torch-compile", "torch.compile", False),
    ("torch-compile-bf16", "torch.compile, bf16 autocast", True),
):
    register(
        Peer(
            name,
            title,
            "torch.compile(network), default mode, inference_mode",
            "https://docs.pytorch.org/docs/stable/generated/torch.compile.html",
            as_exported,
            open=partial(compiled, bfloat16=bfloat16),
            runtimes=(name,),
        )
    )
