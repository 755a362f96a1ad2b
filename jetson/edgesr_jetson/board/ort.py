"""Run a model with onnxruntime, where that is what the board has."""

from __future__ import annotations

import os
import platform
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, Callable

import numpy as np

from .contents import Bundle, Model
from .errors import BoardError, absent, one_line
from .profile import Layers, onnxruntime_layers, read_events
from .runner import Runner

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(int16)": np.int16,
}
_PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")
_ERRORS_ONLY = 3
_ARM = ("aarch64", "arm64")


class OrtBackend:
    """The installed onnxruntime.

    Raises:
        BoardError: it cannot be imported.
    """

    name = "onnxruntime"
    as_bytes = False
    """Whether native models are given numbers of 16 bits as bytes."""

    def __init__(self, threads: int | None = None) -> None:
        try:
            self._ort: Any = import_module("onnxruntime")
        except Exception as error:  # a broken library may raise anything when it is imported
            raise BoardError(f"onnxruntime cannot be imported ({one_line(error)})") from error
        self._threads = threads or os.cpu_count() or 1
        available = self._ort.get_available_providers()
        self._providers = [name for name in _PREFERRED if name in available]

    def describe(self) -> dict[str, Any]:
        """Say name, version, providers and threads."""
        return {
            "name": self.name,
            "version": self._ort.__version__,
            "providers": self._providers,
            "threads": self._threads,
        }

    def reason_to_skip(self, model: Model) -> str | None:
        """Say why ``model`` is better not even loaded here; None where it may be.

        On arm64 CPUs the half-precision convolution of onnxruntime gives every group the bias of
        the first (seen in 1.19.2 and 1.31.1) and, when it packs weights, wrong ones (1.31.1).
        """
        is_wrong = platform.machine() in _ARM and "CUDAExecutionProvider" not in self._providers
        if model.precision != "fp16" or not is_wrong:
            return None
        return (
            "onnxruntime computes half-precision grouped convolutions wrongly on arm64 CPUs; run "
            f"it with TensorRT, or try it with --models {model.name}"
        )

    def open(self, bundle: Bundle, model: Model) -> tuple[Runner, dict[str, Any]]:
        """Load a model; returns its runner and what there is to say about its engine.

        Raises:
            BoardError: onnxruntime refuses the file; the message carries its reason, which names
                an unsupported operator.
        """
        session = self._session(model)
        runner = OrtRunner(self._ort, session, bundle, model, self._session)
        engine = {
            "kind": "onnxruntime session",
            "built": False,
            "precision": absent("onnxruntime has no engine inspector; types are as in the file"),
            "dla": absent("onnxruntime does not use it"),
        }
        return runner, engine

    def _session(self, model: Model, profile: Path | None = None) -> Any:
        """A session; with ``profile``, one that writes files whose names begin so."""
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        content = model.read()
        source = str(model.onnx.path) if model.weights else content
        try:
            return self._ort.InferenceSession(source, options, providers=self._providers)
        except Exception as error:  # onnxruntime's errors have no common public base
            raise BoardError(
                f"onnxruntime {self._ort.__version__} cannot load {model.name}: {one_line(error)};"
                " install a newer onnxruntime, or export the network for an older opset"
            ) from error


class OrtRunner(Runner):
    """A session with bound buffers."""

    def __init__(
        self,
        ort: Any,
        session: Any,
        bundle: Bundle,
        model: Model,
        reopen: Callable[[Model, Path], Any],
    ) -> None:
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise BoardError(
                f"{model.name} has {len(inputs)} inputs and {len(outputs)} outputs; one each is"
                " needed"
            )
        for entry in (inputs[0], outputs[0]):
            if entry.type not in _TYPES:
                raise BoardError(
                    f"{model.name} has {entry.name} of type {entry.type}; "
                    "float32, float16, uint8, uint16 and int16 can be used"
                )
        self._ort, self._session, self._bundle, self._model = ort, session, bundle, model
        self._input, self._output = inputs[0], outputs[0]
        self._input_type = _TYPES[inputs[0].type]
        self._output_type = _TYPES[outputs[0].type]
        providers = session.get_providers()
        self._device = "cuda" if providers[:1] == ["CUDAExecutionProvider"] else "cpu"
        self._reopen = reopen
        self._binding: Any = None
        self._source: Any = None

    def prepare(self, shape: tuple[int, ...]) -> None:
        for axis, (wanted, given) in enumerate(zip(self._input.shape, shape)):
            if isinstance(wanted, int) and wanted != given:
                raise BoardError(
                    f"{self._model.name} takes input {_shape(self._input.shape)} and got "
                    f"{_shape(shape)} (axis {axis}); choose that tile, or a bundle with free sizes"
                )
        value = self._ort.OrtValue
        self._source = value.ortvalue_from_numpy(np.zeros(shape, self._input_type), self._device, 0)
        sink = value.ortvalue_from_shape_and_type(
            list(self._bundle.output_shape(shape)), self._output_type, self._device, 0
        )
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input(self._input.name, self._source)
        self._binding.bind_ortvalue_output(self._output.name, sink)

    def load(self, tile: np.ndarray) -> None:
        self._source.update_inplace(np.ascontiguousarray(tile, dtype=self._input_type))

    def run(self) -> None:
        try:
            self._session.run_with_iobinding(self._binding)
            self._binding.synchronize_outputs()
        except Exception as error:  # onnxruntime's errors have no common public base
            raise BoardError(f"{self._model.name} failed: {one_line(error)}") from error

    def infer(self, tile: np.ndarray) -> np.ndarray:
        self.load(tile)
        self.run()
        output = self._binding.copy_outputs_to_cpu()[0]
        return np.asarray(output, dtype=np.float32)

    def infer_into(self, tile: np.ndarray, answer: np.ndarray) -> None:
        if self._device != "cpu" or answer.dtype != self._output_type:
            self.load(tile)
            self.run()
            np.copyto(answer, self._binding.copy_outputs_to_cpu()[0], casting="same_kind")
            return
        source = np.ascontiguousarray(tile, dtype=self._input_type)
        outer, self._binding = self._binding, self._session.io_binding()
        for bind, entry, array in (
            (self._binding.bind_input, self._input, source),
            (self._binding.bind_output, self._output, answer),
        ):
            bind(entry.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        try:
            self.run()
        finally:
            self._binding = outer

    def memory(self) -> dict[str, Any]:
        return absent("onnxruntime does not tell the memory of the device")

    def layers(self, tile: np.ndarray, runs: int) -> Layers:
        feed = {self._input.name: np.ascontiguousarray(tile, dtype=self._input_type)}
        with tempfile.TemporaryDirectory() as folder:
            session = self._reopen(self._model, Path(folder) / "profile")
            for _ in range(runs):
                session.run(None, feed)
            return onnxruntime_layers(read_events(Path(session.end_profiling())))

    def describe(self) -> dict[str, Any]:
        return {
            "device": self._device,
            "providers": self._session.get_providers(),
            "input_type": np.dtype(self._input_type).name,
            "output_type": np.dtype(self._output_type).name,
        }

    def close(self) -> None:
        self._binding = self._source = self._session = None


def _shape(lengths: Any) -> str:
    return "x".join(str(length) for length in lengths)
