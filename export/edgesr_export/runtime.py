"""Run an ONNX file with ONNX Runtime, on the CPU or on a GPU."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from edgesr_export.errors import ExportError, one_line
from edgesr_export.feeds import as_type

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""Names of ONNX Runtime, by ours."""


class Session:
    """A loaded ONNX file of one input and one output; call it with an array [N, C, H, W].

    Attributes:
        path: the file.
        name: runtime and provider, for reports.
        device: "cpu" or, on the second GPU, "cuda:1".
        threads: threads within an operator on the CPU.
        input_shape: lengths of the input's axes; a name where the file leaves it free.
    """

    def __init__(
        self,
        path: Path | str,
        threads: int = 1,
        *,
        provider: str = "cpu",
        device: int = 0,
        profile_prefix: Path | None = None,
        fused_file: Path | None = None,
    ) -> None:
        self.path = Path(path)
        self.threads = threads
        self._session = _open(self.path, threads, provider, device, profile_prefix, fused_file)
        self.device = "cpu" if provider == "cpu" else f"cuda:{device}"
        self.name = "ONNX Runtime" + ("" if provider == "cpu" else f" {provider}")
        entry = self._session.get_inputs()[0]
        self._input = entry.name
        self._dtype = _numpy_type(entry.type)
        self.input_shape: tuple[int | str, ...] = tuple(entry.shape)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Output [N, C', H', W'] for ``image`` [N, C, H, W], converted to the file's real type."""
        feed = {self._input: as_type(image, self._dtype, self.path.name)}
        try:
            return np.asarray(self._session.run(None, feed)[0])
        except Exception as error:  # onnxruntime's errors have no common public base
            raise ExportError(
                f"{self.path.name} takes input {self.input_shape} and failed on "
                f"{tuple(image.shape)}: {one_line(error)}"
            ) from error

    def end_profiling(self) -> Path:
        """Stop measuring and return the file of events; for a session with a profile prefix."""
        return Path(self._session.end_profiling())


def session(
    path: Path | str, threads: int = 1, *, provider: str = "cpu", device: int = 0
) -> Session:
    """Load ``path`` with ``threads`` threads within an operator.

    The threads rest between two calls, so that sessions measured in turn do not disturb each
    other; nothing about the run is sent anywhere.

    Args:
        path: ONNX file.
        threads: on the CPU; a GPU needs none of them.
        provider: one of :data:`PROVIDERS`; float32 is not rounded to TF32.
        device: number of the GPU.

    Raises:
        ExportError: no such file, not one that ONNX Runtime can run, or a provider that is not
            here or that ONNX Runtime silently left out.
    """
    return Session(path, threads, provider=provider, device=device)


def missing_provider(provider: str) -> str:
    """Why ONNX Runtime has no such provider here; empty where it has."""
    import onnxruntime

    here = onnxruntime.get_available_providers()
    if PROVIDERS[provider] in here:
        return ""
    names = ", ".join(name.removesuffix("ExecutionProvider") for name in here)
    return f"this ONNX Runtime has no {provider} provider (it has {names}); use onnxruntime-gpu"


def _open(
    path: Path,
    threads: int,
    provider: str,
    device: int,
    profile_prefix: Path | None,
    fused_file: Path | None,
) -> Any:
    import onnxruntime

    if not path.is_file():
        raise ExportError(f"{path} does not exist; name an .onnx file")
    if threads < 1:
        raise ExportError(f"at least 1 thread is needed, got {threads}")
    if provider not in PROVIDERS:
        raise ExportError(f"a provider is one of {', '.join(PROVIDERS)}, got {provider!r}")
    absent = missing_provider(provider)
    if absent:
        raise ExportError(f"{path} cannot run on {provider}: {absent}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what it logs as an error it raises as well
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_prefix)
    if fused_file is not None:
        options.optimized_model_filepath = str(fused_file)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    said = io.StringIO()  # what Python's side of it prints instead of raising
    try:
        with redirect_stdout(said):
            if provider != "cpu":
                onnxruntime.set_default_logger_severity(4)  # it logs each library that it lacks
                onnxruntime.preload_dlls()  # CUDA and cuDNN as Python packages, as torch has them
            opened = onnxruntime.InferenceSession(
                path, options, providers=_providers(provider, device)
            )
    except Exception as error:  # onnxruntime's errors have no common public base
        raise ExportError(f"{path} cannot be loaded: {one_line(error)}") from error
    if opened.get_providers()[0] != PROVIDERS[provider]:
        why = next((f" ({line.strip()})" for line in said.getvalue().splitlines() if line), "")
        raise ExportError(
            f"ONNX Runtime left its {provider} provider out{why[:160]} and would run {path.name} "
            "on another one; install the CUDA, cuDNN or TensorRT libraries of its version"
        )
    return opened


def _providers(provider: str, device: int) -> list[Any]:
    """The provider asked for, then those that take what it does not."""
    cuda = (PROVIDERS["cuda"], {"device_id": device, "use_tf32": 0})
    chains: dict[str, list[Any]] = {
        "cpu": [PROVIDERS["cpu"]],
        "cuda": [cuda, PROVIDERS["cpu"]],
        "tensorrt": [(PROVIDERS["tensorrt"], {"device_id": device}), cuda, PROVIDERS["cpu"]],
    }
    return chains[provider]


def _numpy_type(name: str) -> type[np.generic]:
    types: dict[str, type[np.generic]] = {
        "tensor(float)": np.float32,
        "tensor(float16)": np.float16,
        "tensor(double)": np.float64,
        "tensor(uint8)": np.uint8,
        "tensor(uint16)": np.uint16,
        "tensor(int16)": np.int16,
    }
    if name not in types:
        raise ExportError(f"an input of type {name} is not supported; {', '.join(types)} are")
    return types[name]
