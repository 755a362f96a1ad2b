"""Forms in which a network runs on a GPU; also on "cpu", to try the plumbing where none is.

Input and output stay on the device: what is timed is the network, until the device is done.
Transfers are measured on the board by its own program.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from edgesr_export.errors import ExportError
from torch import Tensor, nn

from benchmarks.zoo import AbsentError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
WARMUP = 3
PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


@dataclass(frozen=True)
class Form:
    """How a network runs.

    Attributes:
        how: "eager", "compiled", "graph" (a recorded CUDA graph), "onnxruntime" or "tensorrt".
        precision: of weights and activations: "fp32", "fp16" or "bf16"; float32 as torch has it
            by default, without TF32 in matrix products.
        channels_last: order of the axes in memory, for torch alone.
    """

    how: str
    precision: str = "fp32"
    channels_last: bool = False

    @property
    def name(self) -> str:
        """Words for a table."""
        last = ", channels_last" if self.channels_last else ""
        return f"{self.how} {self.precision}{last}"


FORMS = (
    *(Form("eager", precision, last) for precision in DTYPES for last in (False, True)),
    Form("compiled"),
    Form("compiled", "fp16", channels_last=True),
    Form("compiled", "bf16", channels_last=True),
    Form("graph"),
    Form("graph", "fp16", channels_last=True),
    Form("onnxruntime"),
    Form("onnxruntime", "fp16"),
    Form("tensorrt"),
    Form("tensorrt", "fp16"),
)


def torch_call(model: nn.Module, tile: Tensor, form: Form, device: str) -> Callable[[], object]:
    """What runs ``model`` in torch on ``tile`` [1, B, h, w] and returns when the device is done.

    Raises:
        AbsentError: no CUDA graphs there.
    """
    order = torch.channels_last if form.channels_last else torch.contiguous_format
    dtype = DTYPES[form.precision]
    own = copy.deepcopy(model).eval()
    own.to(device=device, dtype=dtype, memory_format=order)  # type: ignore[call-overload]
    own.requires_grad_(False)
    lr = tile.to(device=device, dtype=dtype, memory_format=order)
    wait = torch.cuda.synchronize if device.startswith("cuda") else _nothing
    if form.how == "graph":
        if not device.startswith("cuda"):
            raise AbsentError(f"CUDA graphs need a CUDA device, not {device}")
        return _recorded(own, lr)
    run: Callable[[Tensor], Tensor] = own
    if form.how == "compiled":
        run = torch.compile(own, dynamic=False)

    def call() -> None:
        with torch.inference_mode():
            run(lr)
        wait()

    return call


def onnx_call(file: Path, tile: np.ndarray, device: str) -> Callable[[], object]:
    """What runs an ONNX file in ONNX Runtime on the device, input and output bound there.

    Raises:
        AbsentError: this ONNX Runtime has no provider for the device.
    """
    import onnxruntime

    if device.startswith("cuda"):
        onnxruntime.preload_dlls()  # CUDA and cuDNN as Python packages
    kind = device.split(":")[0]
    provider = PROVIDERS[kind]
    if provider not in onnxruntime.get_available_providers():
        raise AbsentError(f"this onnxruntime has no {provider}; install onnxruntime-gpu")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(file, options, providers=[provider])
    if session.get_providers()[0] != provider:  # it leaves one out without a word
        raise AbsentError(f"onnxruntime left {provider} out; install CUDA and cuDNN of its version")
    binding = session.io_binding()
    value = onnxruntime.OrtValue.ortvalue_from_numpy(tile, kind, 0)
    binding.bind_ortvalue_input(session.get_inputs()[0].name, value)
    binding.bind_output(session.get_outputs()[0].name, kind, 0)

    def call() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return call


def tensorrt_call(file: Path, tile: np.ndarray, precision: str) -> Callable[[], object]:
    """What launches an engine of an ONNX file as one CUDA graph, on data uploaded before.

    Raises:
        AbsentError: no GPU, no TensorRT, or one that does not serve this GPU.
    """
    from edgesr_export.tensorrt import Runner, Settings, available, build
    from edgesr_export.tensorrt.cuda import find_device

    if find_device() is None or not available():
        raise AbsentError("TensorRT needs a CUDA device and the extra 'tensorrt'")
    engine = file.with_suffix(f".{precision}.engine")
    shape = tuple(tile.shape)
    try:
        build(
            file,
            engine,
            expect=precision,
            profile={"input": (shape,) * 3},
            settings=Settings(progress=False),
        )
        runner = Runner(engine, onnx=file, cuda_graph=True)
    except ExportError as error:
        raise AbsentError(f"TensorRT: {error}") from error
    runner.prepare({next(iter(runner.inputs)): tile})
    runner.upload()

    def call() -> None:
        runner.launch()
        runner.wait()

    return call


def _recorded(model: nn.Module, lr: Tensor) -> Callable[[], object]:
    """A CUDA graph of one pass; the first passes, which choose kernels, run beside it."""
    stream = torch.cuda.Stream(lr.device)
    stream.wait_stream(torch.cuda.current_stream(lr.device))
    with torch.inference_mode(), torch.cuda.stream(stream):
        for _ in range(WARMUP):
            model(lr)
    torch.cuda.current_stream(lr.device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        output = model(lr)

    def call(kept: Tensor = output) -> None:  # the graph writes to it for as long as it lives
        graph.replay()
        torch.cuda.synchronize(lr.device)

    return call


def _nothing() -> None:
    pass
