"""Run an ONNX file with ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.errors import ExportError, one_line

if TYPE_CHECKING:
    import onnxruntime


class Session:
    """A loaded ONNX file of one input and one output; call it with an array [N, C, H, W].

    Attributes:
        path: the file.
        threads: threads within an operator.
        input_shape: lengths of the input's axes; a name where the file leaves it free.
    """

    def __init__(
        self, path: Path | str, threads: int = 1, *, profile_prefix: Path | None = None
    ) -> None:
        import onnxruntime

        self.path = Path(path)
        self.threads = threads
        self._session = _open(onnxruntime, self.path, threads, profile_prefix)
        entry = self._session.get_inputs()[0]
        self._input = entry.name
        self._dtype = _numpy_type(entry.type)
        self.input_shape: tuple[int | str, ...] = tuple(entry.shape)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Output [N, C', H', W'] for ``image`` [N, C, H, W], converted to the file's type."""
        feed = {self._input: np.ascontiguousarray(image, dtype=self._dtype)}
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


def session(path: Path | str, threads: int = 1) -> Session:
    """Load ``path`` for the CPU with ``threads`` threads within an operator.

    The threads rest between two calls, so that sessions measured in turn do not disturb each
    other; nothing about the run is sent anywhere.

    Raises:
        ExportError: no such file, or not one that ONNX Runtime can run.
    """
    return Session(path, threads)


def _open(
    runtime: onnxruntime, path: Path, threads: int, profile_prefix: Path | None
) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise ExportError(f"{path} does not exist; name an .onnx file")
    if threads < 1:
        raise ExportError(f"at least 1 thread is needed, got {threads}")
    runtime.disable_telemetry_events()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_prefix)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common public base
        raise ExportError(f"{path} cannot be loaded: {one_line(error)}") from error


def _numpy_type(name: str) -> type[np.generic]:
    types: dict[str, type[np.generic]] = {
        "tensor(float)": np.float32,
        "tensor(float16)": np.float16,
        "tensor(double)": np.float64,
    }
    if name not in types:
        raise ExportError(f"an input of type {name} is not supported; {', '.join(types)} are")
    return types[name]
