"""Run a model with TensorRT: named tensors where they exist, bindings before 8.5."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from typing import Any, Callable

import numpy as np

from .contents import Bundle, Model
from .cuda import Cuda
from .errors import BoardError, one_line
from .precision import layer_precisions, missing
from .profile import Layers, tensorrt_layers
from .runner import Runner
from .trt_build import BuildLog, BuildSettings, build, make_logger
from .trt_cache import EngineCache

Say = Callable[[str], None]


class TensorRTBackend:
    """The installed TensorRT with a CUDA device.

    Args:
        engines: folder of built engines.
        l4t: release of the board's system, part of what makes an engine foreign.
        say: told when something takes long.

    Raises:
        BoardError: TensorRT cannot be imported, or there is no GPU.
    """

    name = "tensorrt"
    as_bytes = True
    """Native models take and give numbers of 16 bits as bytes: TensorRT has no such integers."""

    def __init__(self, engines: Path, l4t: Any, settings: BuildSettings, say: Say) -> None:
        try:
            self._trt: Any = import_module("tensorrt")
        except Exception as error:  # a broken library may raise anything when it is imported
            raise BoardError(f"tensorrt cannot be imported ({one_line(error)})") from error
        self._cuda = Cuda()
        self._settings = settings
        self._say = say
        self._log = BuildLog()
        self._logger = make_logger(self._trt, self._log)
        self._runtime = self._trt.Runtime(self._logger)  # engines must not outlive it
        self._cache = EngineCache(
            engines,
            {
                "gpu": self._cuda.name,
                "capability": self._cuda.capability,
                "tensorrt": self._trt.__version__,
                "l4t": l4t,
            },
        )

    def describe(self) -> dict[str, Any]:
        """Say name, version and device."""
        return {
            "name": self.name,
            "version": self._trt.__version__,
            "gpu": self._cuda.name,
            "compute_capability": self._cuda.capability,
            "cuda_driver": self._cuda.driver,
            "tf32": self._settings.tf32,
            "workspace_mb": self._settings.workspace_mb,
        }

    def reason_to_skip(self, model: Model) -> str | None:
        """Nothing: TensorRT is not known to get a model wrong."""
        del model
        return None

    def open(self, bundle: Bundle, model: Model) -> tuple[Runner, dict[str, Any]]:
        """Load the stored engine of a model, or build it; returns its runner and its description.

        Raises:
            BoardError: it cannot be built or stored, or has not the precision asked for.
        """
        choices = {
            "onnx_sha256": model.sha256,
            "precision": model.precision,
            "profile": [list(s) for s in vars(bundle.profile).values()],
            "settings": vars(self._settings),
        }
        stored = self._cache.read(model.name, choices)
        rebuilt = stored.why_not
        if stored.plan is not None:
            engine = self._runtime.deserialize_cuda_engine(stored.plan)
            if engine is not None:
                found = {**stored.details, "built": False}
                return self._runner(engine, bundle, model, found), found
            rebuilt = "TensorRT refuses the stored engine"
        if rebuilt:
            self._say(f"{model.name}: {rebuilt}; building it again")
        plan, engine, details = self._build(bundle, model)
        details["rebuilt_because"] = rebuilt
        wrong = missing(model.precision, details["precision"])
        if wrong:
            raise BoardError(f"{model.name}: {wrong}")
        self._cache.write(model.name, plan, choices, details)
        found = {**details, "built": True}
        return self._runner(engine, bundle, model, found), found

    def _build(self, bundle: Bundle, model: Model) -> tuple[bytes, Any, dict[str, Any]]:
        self._say(f"{model.name}: building an engine; a small board takes minutes")
        self._log.errors.clear()
        self._log.warnings.clear()
        start = time.perf_counter()
        plan, timing, details = build(
            self._trt,
            self._logger,
            self._log,
            model,
            bundle.profile,
            self._settings,
            self._cache.read_timing(),
        )
        seconds = time.perf_counter() - start
        if timing:
            self._cache.write_timing(timing)
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise BoardError(
                f"TensorRT refuses the engine of {model.name} that it just built: "
                f"{self._log.last_error()}"
            )
        return (
            plan,
            engine,
            {
                "kind": "TensorRT engine",
                "build_s": round(seconds, 2),
                "bytes": len(plan),
                "precision": layer_precisions(self._trt, engine),
                **details,
            },
        )

    def _runner(self, engine: Any, bundle: Bundle, model: Model, details: dict[str, Any]) -> Runner:
        runner = TensorRTRunner(self._trt, self._cuda, engine, bundle, model, self._log)
        if details.get("one_size"):
            height, width = details["one_size"]
            runner.one_size = (height, width)
            self._say(f"{model.name}: an engine of one size alone: {details['why_one_size']}")
        return runner


class TensorRTRunner(Runner):
    """An engine with its buffers on the device and pinned ones on the host."""

    def __init__(
        self, trt: Any, cuda: Cuda, engine: Any, bundle: Bundle, model: Model, log: BuildLog
    ) -> None:
        self._trt, self._cuda, self._engine = trt, cuda, engine
        self._bundle, self._model, self._log = bundle, model, log
        self._context = engine.create_execution_context()
        if self._context is None:
            raise BoardError(
                f"too little GPU memory to run {model.name} ({log.last_error()}); close other "
                "programs"
            )
        self._named = hasattr(self._context, "execute_async_v3")
        self._input, self._output = self._tensors()
        self._input_type, self._output_type = (
            self._type_of(name) for name in (self._input, self._output)
        )
        self._hosts: list[np.ndarray] = []
        self._buffers: list[int] = []
        self._shape: tuple[int, ...] = ()

    def prepare(self, shape: tuple[int, ...]) -> None:
        if shape == self._shape:
            return
        if not self.takes(shape):
            only, asked = ("x".join(map(str, size)) for size in (self.one_size or (), shape[2:4]))
            raise BoardError(
                f"the engine of {self._model.name} takes {only} pixels alone, not {asked}, since "
                f"TensorRT builds none for the bundle's range; choose that size with --tile {only}"
            )
        self._release()
        set_shape = (
            self._context.set_input_shape if self._named else self._context.set_binding_shape
        )
        accepted = set_shape(self._input if self._named else 0, shape)
        if accepted is False:
            raise BoardError(
                f"the engine of {self._model.name} does not take a tile of "
                f"{'x'.join(map(str, shape))}: {self._log.last_error()}"
            )
        output = self._bundle.output_shape(shape)
        for lengths, dtype in ((shape, self._input_type), (output, self._output_type)):
            host = self._cuda.pinned(lengths, dtype)
            self._hosts.append(host)
            self._buffers.append(self._cuda.allocate(host.nbytes))
        if self._named:
            for name, address in zip((self._input, self._output), self._buffers):
                self._context.set_tensor_address(name, address)
        self._shape = shape

    def load(self, tile: np.ndarray) -> None:
        self._queue_input(tile)
        self._cuda.synchronise()

    def run(self) -> None:
        self._enqueue()
        self._cuda.synchronise()

    def infer(self, tile: np.ndarray) -> np.ndarray:
        self._answer(tile)
        return np.asarray(self._hosts[1], dtype=np.float32)

    def infer_into(self, tile: np.ndarray, answer: np.ndarray) -> None:
        self._answer(tile)
        np.copyto(answer, self._hosts[1], casting="same_kind")

    def memory(self) -> dict[str, Any]:
        free, total = self._cuda.memory_mb()
        return {
            "device_used_mb": round(total - free, 1),
            "device_free_mb": round(free, 1),
            "device_total_mb": round(total, 1),
        }

    def layers(self, tile: np.ndarray, runs: int) -> Layers:
        self.load(tile)
        return tensorrt_layers(self._trt, self._engine, self._context, self.run, runs)

    def describe(self) -> dict[str, Any]:
        return {
            "device": "cuda",
            "input_type": self._input_type.name,
            "output_type": self._output_type.name,
        }

    def close(self) -> None:
        self._release()
        self._context = self._engine = None

    def _answer(self, tile: np.ndarray) -> None:
        self._queue_input(tile)
        self._enqueue()
        self._cuda.copy_out(self._hosts[1], self._buffers[1])
        self._cuda.synchronise()

    def _queue_input(self, tile: np.ndarray) -> None:
        np.copyto(self._hosts[0], tile, casting="same_kind")
        self._cuda.copy_in(self._buffers[0], self._hosts[0])

    def _enqueue(self) -> None:
        if self._named:
            done = self._context.execute_async_v3(self._cuda.stream)
        else:
            done = self._context.execute_async_v2(self._buffers, self._cuda.stream)
        if not done:
            raise BoardError(f"{self._model.name} failed on the GPU: {self._log.last_error()}")

    def _release(self) -> None:
        while self._buffers:
            self._cuda.release(self._buffers.pop())
        while self._hosts:
            self._cuda.unpin(self._hosts.pop())
        self._shape = ()

    def _tensors(self) -> tuple[str, str]:
        engine = self._engine
        if not self._named:
            return engine.get_binding_name(0), engine.get_binding_name(1)
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        is_input = [engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT for name in names]
        return names[is_input.index(True)], names[is_input.index(False)]

    def _type_of(self, name: str) -> Any:
        """Type as numpy has it; ``tensorrt.nptype`` of 8.x breaks with numpy 1.24 and later."""
        engine, types = self._engine, self._trt.DataType
        found = engine.get_tensor_dtype(name) if self._named else engine.get_binding_dtype(name)
        known = {"FLOAT": np.float32, "HALF": np.float16, "UINT8": np.uint8}
        for kind, dtype in known.items():
            if found == getattr(types, kind, None):
                return np.dtype(dtype)
        raise BoardError(
            f"{self._model.name} has {name} of type {found}; float32, float16 and uint8 can be used"
        )
