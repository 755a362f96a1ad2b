"""One way to run a network, whatever runs it.

======================  ==========================  ===========================================
runtime                 source                      what runs it
======================  ==========================  ===========================================
torch, torch-cuda       an ``nn.Module``            torch, on the CPU or a GPU
onnxruntime             an .onnx file               ONNX Runtime, CPU
onnxruntime-cuda        an .onnx file               ONNX Runtime, CUDA provider
onnxruntime-tensorrt    an .onnx file               ONNX Runtime, TensorRT provider
openvino, -bf16         an .onnx file               OpenVINO, CPU, in float32 or bfloat16
tensorrt                an .engine file             TensorRT or TensorRT-RTX; no torch needed
======================  ==========================  ===========================================

A runtime is imported when it is opened, and nothing falls back to another one in silence.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgesr_export.errors import ExportError, one_line
from edgesr_export.openvino import HINTS, abilities, openvino_session
from edgesr_export.runtime import missing_provider, session
from edgesr_export.tensorrt import Runner as Engine
from edgesr_export.tensorrt import available
from edgesr_export.tensorrt.cuda import find_device

if TYPE_CHECKING:
    from torch import nn

NO_GPU = "there is no CUDA device here"


class Runner(Protocol):
    """A loaded network: a function of an array [N, C, H, W] that returns [N, C', H', W'].

    Attributes:
        name: of the runtime, for reports.
        device: "cpu" or such as "cuda:0".
        threads: threads of the CPU that a call uses.
    """

    @property
    def name(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def threads(self) -> int: ...
    def __call__(self, image: np.ndarray) -> np.ndarray: ...


class TorchRunner:
    """A module in evaluation mode; the given one stays where and as it is.

    Attributes:
        name, device, threads: as of :class:`Runner`.
    """

    def __init__(self, module: nn.Module, threads: int = 1, device: str = "cpu") -> None:
        import torch

        if threads < 1:
            raise ExportError(f"at least 1 thread is needed, got {threads}")
        self.name = f"torch {torch.__version__}"
        self.device = device
        self.threads = threads
        try:
            self._module = copy.deepcopy(module).to(device).eval()
        except RuntimeError as error:
            raise ExportError(f"the network does not go to {device}: {one_line(error)}") from error
        real = (p.dtype for p in self._module.parameters() if p.is_floating_point())
        self._dtype = next(real, torch.float32)  # weights may be complex, images are not

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Output for ``image``, converted to the network's type; float32 is not rounded to TF32."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
            with torch.inference_mode(), exact:
                x = torch.from_numpy(np.ascontiguousarray(image))
                answer: np.ndarray = self._module(x.to(self.device, self._dtype)).cpu().numpy()
        except RuntimeError as error:
            raise ExportError(
                f"torch failed on {tuple(image.shape)} on {self.device}: {one_line(error)}"
            ) from error
        finally:
            torch.set_num_threads(before)
        return answer


Opener = Callable[[Any, int, int], Runner]
OPENERS: dict[str, Opener] = {
    "torch": lambda source, threads, _: TorchRunner(source, threads),
    "torch-cuda": lambda source, threads, gpu: TorchRunner(source, threads, f"cuda:{gpu}"),
    "onnxruntime": lambda source, threads, _: session(source, threads),
    "onnxruntime-cuda": lambda source, threads, gpu: session(
        source, threads, provider="cuda", device=gpu
    ),
    "onnxruntime-tensorrt": lambda source, threads, gpu: session(
        source, threads, provider="tensorrt", device=gpu
    ),
    "openvino": lambda source, threads, _: openvino_session(source, threads),
    "openvino-bf16": lambda source, threads, _: openvino_session(source, threads, "bfloat16"),
    "tensorrt": lambda source, _, gpu: Engine(source, device=gpu),
}
SUFFIXES = {name: ".onnx" for name in OPENERS if name.startswith(("onnx", "open"))}
SUFFIXES["tensorrt"] = ".engine"
"""Of the file that a runtime takes; those of torch take a module."""


def open_runner(
    source: nn.Module | Path | str, runtime: str, *, threads: int = 1, device: int = 0
) -> Runner:
    """Load a network.

    Args:
        source: what the runtime takes, see the table above.
        runtime: one of :data:`OPENERS`.
        threads: threads of the CPU; they are not used where a GPU computes.
        device: number of the GPU.

    Raises:
        ExportError: an unknown runtime, one that cannot run here (with the reason), or a source
            that it does not take.
    """
    if runtime not in OPENERS:
        raise ExportError(f"a runtime is one of {', '.join(OPENERS)}, got {runtime!r}")
    suffix = SUFFIXES.get(runtime)
    is_file = isinstance(source, (str, Path))
    if suffix is None and is_file:
        raise ExportError(f"{runtime} runs a torch module and was given the file {source}")
    if suffix is not None and (not is_file or Path(str(source)).suffix != suffix):
        made = "build it with edgesr engine" if suffix == ".engine" else "export the network"
        given = source if is_file else type(source).__name__
        raise ExportError(f"{runtime} runs a file *{suffix} and was given {given}; {made}")
    problem = unavailable(runtime)
    if problem:
        raise ExportError(f"{runtime} cannot run here: {problem}")
    return OPENERS[runtime](source, threads, device)


def available_runtimes() -> dict[str, str]:
    """Why a runtime cannot run here, by its name; empty for those that can."""
    return {runtime: unavailable(runtime) for runtime in OPENERS}


def unavailable(runtime: str) -> str:
    """Why ``runtime`` cannot run here and what to do; empty where it can."""
    library, _, kind = runtime.partition("-")
    if library == "tensorrt":
        if not available():
            return "TensorRT is not installed; install the extra 'tensorrt'"
        return "" if find_device() else NO_GPU
    if importlib.util.find_spec(library) is None:
        return f"{library} is not installed; pip install {library}"
    if library == "torch" and kind == "cuda":
        import torch

        return "" if torch.cuda.is_available() else f"{NO_GPU} for torch {torch.__version__}"
    if library == "onnxruntime" and kind:
        return missing_provider(kind) or ("" if find_device() else NO_GPU)
    if runtime == "openvino-bf16":
        return _lacks_bfloat16()
    return ""


def _lacks_bfloat16() -> str:
    return "" if HINTS["bfloat16"][1] in abilities() else "this CPU does not compute in bfloat16"
