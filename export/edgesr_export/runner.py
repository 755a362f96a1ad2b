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

What runs a file is declared by the target that the file is for (:mod:`edgesr_export.targets`).
A runtime is imported when it is opened, and nothing falls back to another one in silence.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgesr_export.errors import ExportError, one_line
from edgesr_export.targets import Runtime, not_installed, runtimes

if TYPE_CHECKING:
    from torch import nn


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
        module: a copy of what was given, on the device.
        dtype: what it computes in.
    """

    def __init__(self, module: nn.Module, threads: int = 1, device: str = "cpu") -> None:
        import torch

        if threads < 1:
            raise ExportError(f"at least 1 thread is needed, got {threads}")
        self.name = f"torch {torch.__version__}"
        self.device = device
        self.threads = threads
        try:
            self.module = copy.deepcopy(module).to(device).eval()
        except RuntimeError as error:
            raise ExportError(f"the network does not go to {device}: {one_line(error)}") from error
        real = (p.dtype for p in self.module.parameters() if p.is_floating_point())
        self.dtype = next(real, torch.float32)  # weights may be complex, images are not

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Output for ``image``, converted to the network's type; float32 is not rounded to TF32."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
            with torch.inference_mode(), exact:
                x = torch.from_numpy(np.ascontiguousarray(image))
                answer: np.ndarray = self.module(x.to(self.device, self.dtype)).cpu().numpy()
        except RuntimeError as error:
            raise ExportError(
                f"torch failed on {tuple(image.shape)} on {self.device}: {one_line(error)}"
            ) from error
        finally:
            torch.set_num_threads(before)
        return answer


TORCH = (
    Runtime(
        "torch",
        lambda source, threads, _: TorchRunner(source, threads),
        lambda: not_installed("torch"),
        suffix=None,
    ),
    Runtime(
        "torch-cuda",
        lambda source, threads, gpu: TorchRunner(source, threads, f"cuda:{gpu}"),
        lambda: not_installed("torch") or _torch_lacks_cuda(),
        suffix=None,
    ),
)
"""What runs a module as it is; what runs a file is declared by the file's target."""

ONNX_RUNTIME = "onnxruntime"
"""What every ONNX file is compared in."""


def open_runner(
    source: nn.Module | Path | str, runtime: str, *, threads: int = 1, device: int = 0
) -> Runner:
    """Load a network.

    Args:
        source: what the runtime takes, see the table above.
        runtime: see the table above, and what further targets declare.
        threads: threads of the CPU; they are not used where a GPU computes.
        device: number of the GPU.

    Raises:
        ExportError: an unknown runtime, one that cannot run here (with the reason), or a source
            that it does not take.
    """
    found = _find(runtime)
    suffix = found.suffix
    is_file = isinstance(source, (str, Path))
    if suffix is None and is_file:
        raise ExportError(f"{runtime} runs a torch module and was given the file {source}")
    if suffix is not None and (not is_file or Path(str(source)).suffix != suffix):
        made = "build it with edgesr engine" if suffix == ".engine" else "export the network"
        given = source if is_file else type(source).__name__
        raise ExportError(f"{runtime} runs a file *{suffix} and was given {given}; {made}")
    problem = found.missing()
    if problem:
        raise ExportError(f"{runtime} cannot run here: {problem}")
    return found.open(source, threads, device)


def available_runtimes() -> dict[str, str]:
    """Why a runtime cannot run here, by its name; empty for those that can."""
    return {name: runtime.missing() for name, runtime in _all().items()}


def unavailable(runtime: str) -> str:
    """Why ``runtime`` cannot run here and what to do; empty where it can.

    Raises:
        ExportError: there is no runtime of that name.
    """
    return _find(runtime).missing()


def _all() -> dict[str, Runtime]:
    return {runtime.name: runtime for runtime in TORCH} | runtimes()


def _find(name: str) -> Runtime:
    known = _all()
    if name not in known:
        raise ExportError(f"a runtime is one of {', '.join(known)}, got {name!r}")
    return known[name]


def _torch_lacks_cuda() -> str:
    import torch

    if torch.cuda.is_available():
        return ""
    from edgesr_export.tensorrt.cuda import NO_GPU

    return f"{NO_GPU} for torch {torch.__version__}"
