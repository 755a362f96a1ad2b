"""Run an ONNX file with OpenVINO on the CPU, in float32 or bfloat16. Nothing is sent anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from export.errors import ExportError, one_line
from export.int8.silence import silence_telemetry

HINTS = {"float32": ("f32", "FP32"), "bfloat16": ("bf16", "BF16")}
"""Name of the hint and of the CPU's ability; OpenVINO keeps in float32 what it cannot halve."""


class OpenVinoSession:
    """A loaded ONNX file of one input and one output; call it with an array [N, C, H, W].

    Attributes:
        path: the file.
        threads: threads that a call uses.
        precision: "float32" or "bfloat16".
    """

    def __init__(self, path: Path | str, threads: int = 1, precision: str = "float32") -> None:
        self.path = Path(path)
        self.threads = threads
        self.precision = precision
        if precision not in HINTS:
            raise ExportError(f"a precision is {' or '.join(HINTS)}, got {precision!r}")
        if not self.path.is_file():
            raise ExportError(f"{self.path} does not exist; name an .onnx file")
        if threads < 1:
            raise ExportError(f"at least 1 thread is needed, got {threads}")
        core = _core()
        hint, ability = HINTS[precision]
        if ability not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ExportError(f"this CPU does not compute in {precision}; choose float32")
        settings = {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            self._model = core.compile_model(core.read_model(self.path), "CPU", settings)
        except RuntimeError as error:
            raise ExportError(f"OpenVINO cannot load {self.path}: {_reason(error)}") from error
        self._dtype = self._model.input(0).element_type.to_dtype()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Output [N, C', H', W'] for ``image`` [N, C, H, W], converted to the file's type."""
        try:
            answer = self._model(np.ascontiguousarray(image, dtype=self._dtype))
        except RuntimeError as error:
            raise ExportError(
                f"OpenVINO failed on {tuple(image.shape)} with {self.path.name}: {_reason(error)}"
            ) from error
        return np.array(answer[0])


def openvino_session(
    path: Path | str, threads: int = 1, precision: str = "float32"
) -> OpenVinoSession:
    """Load ``path`` for the CPU.

    Args:
        path: ONNX file.
        threads: threads that a call uses.
        precision: "float32", or "bfloat16" where the CPU has it.

    Raises:
        ExportError: OpenVINO is not installed, a file that it cannot run, or a precision that the
            CPU does not have.
    """
    return OpenVinoSession(path, threads, precision)


def _core() -> Any:
    silence_telemetry()
    try:
        import openvino
    except ImportError as error:
        raise ExportError(
            f"the target openvino needs OpenVINO, which cannot be imported ({one_line(error)}); "
            "install the extra 'openvino'"
        ) from error
    return openvino.Core()


def _reason(error: BaseException) -> str:
    """What OpenVINO says, without the source lines of its own that it puts before."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return " ".join(told or lines)[:240]
