"""Run an ONNX file with OpenVINO on the CPU, in float32 or bfloat16. Nothing is sent anywhere."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgesr_export.buffers import Buffers
from edgesr_export.errors import ExportError, one_line
from edgesr_export.feeds import as_type
from edgesr_export.int8.telemetry import silence_telemetry

HINTS = {"float32": ("f32", "FP32"), "bfloat16": ("bf16", "BF16")}
"""Name of the hint and of the CPU's ability; OpenVINO keeps in float32 what it cannot halve."""


class OpenVinoSession:
    """A loaded ONNX file of one input and one output; call it with an array [N, C, H, W].

    Attributes:
        path: the file.
        name: runtime, for reports.
        device: "cpu".
        threads: threads that a call uses.
        precision: "float32" or "bfloat16".
        compiled: what OpenVINO made of the file.
        request: the last call, for the counters that it keeps if ``counted``.
    """

    device = "cpu"

    def __init__(
        self,
        path: Path | str,
        threads: int = 1,
        precision: str = "float32",
        shape: Sequence[int] | None = None,
        *,
        counted: bool = False,
    ) -> None:
        self.path = Path(path)
        self.threads = threads
        self.precision = precision
        self.name = "OpenVINO" if precision == "float32" else f"OpenVINO {precision}"
        if precision not in HINTS:
            raise ExportError(f"a precision is {' or '.join(HINTS)}, got {precision!r}")
        if not self.path.is_file():
            raise ExportError(f"{self.path} does not exist; name an .onnx file")
        if threads < 1:
            raise ExportError(f"at least 1 thread is needed, got {threads}")
        hint, ability = HINTS[precision]
        if ability not in abilities():
            raise ExportError(f"this CPU does not compute in {precision}; choose float32")
        settings = {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "PERF_COUNT": counted,
        }
        try:
            core = _core()
            model = core.read_model(self.path)
            if shape is not None:
                model.reshape(list(shape))
            self.compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise ExportError(f"OpenVINO cannot load {self.path}: {_reason(error)}") from error
        self._dtype = self.compiled.input(0).element_type.to_dtype()
        self._tensor = _package().Tensor
        self.request: Any = None
        self._buffers = Buffers()
        self._known: dict[tuple[int, ...], tuple[tuple[int, ...], np.dtype]] = {}

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Output [N, C', H', W'] for ``image`` [N, C, H, W], converted to the file's real type."""
        given = as_type(image, self._dtype, self.path.name)
        try:
            return self._answer(given)
        except RuntimeError as error:
            raise ExportError(
                f"OpenVINO failed on {tuple(image.shape)} with {self.path.name}: {_reason(error)}"
            ) from error

    def _answer(self, image: np.ndarray) -> np.ndarray:
        """OpenVINO writes to an array of ours, once the shape of the answer is known."""
        if image.shape not in self._known:
            self.request = self.compiled.create_infer_request()  # the old one keeps its shape
            found = self.request.infer([image], share_inputs=True, share_outputs=True)
            answer = np.array(found[0])
            self._known = {image.shape: (answer.shape, answer.dtype)}
            return answer
        array = self._buffers.take(*self._known[image.shape])
        self.request.set_output_tensor(self._tensor(array, shared_memory=True))
        self.request.infer([image], share_inputs=True, share_outputs=True)
        return array


def openvino_session(
    path: Path | str,
    threads: int = 1,
    precision: str = "float32",
    shape: Sequence[int] | None = None,
) -> OpenVinoSession:
    """Load ``path`` for the CPU.

    Args:
        path: ONNX file.
        threads: threads that a call uses.
        precision: "float32", or "bfloat16" where the CPU has it.
        shape: the only one that images may have, such as (1, 128, 64, 64); about a tenth faster
            than a file whose sizes are free.

    Raises:
        ExportError: OpenVINO is not installed, a file that it cannot run, or a precision that the
            CPU does not have.
    """
    return OpenVinoSession(path, threads, precision, shape)


def abilities() -> list[str]:
    """What the CPU computes in, in OpenVINO's words, such as "BF16".

    Raises:
        ExportError: OpenVINO is not installed.
    """
    return list(_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


@cache
def _core() -> Any:
    """One for the process, for its whole life.

    The CPU's plug-in of every core sets up a stack for signal handlers, and frees it with the core.
    Cores that end in another order than that of their beginning leave the thread with a stack that
    is gone: the next Ctrl-C is a segmentation fault (OpenVINO 2026.4).
    """
    return _package().Core()


def _package() -> Any:
    silence_telemetry()
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise ExportError(
            f"the target openvino needs OpenVINO, which cannot be imported ({one_line(error)}); "
            "install the extra 'openvino'"
        ) from error


def _reason(error: BaseException) -> str:
    """What OpenVINO says, without the source lines of its own that it puts before."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return " ".join(told or lines)[:240]
