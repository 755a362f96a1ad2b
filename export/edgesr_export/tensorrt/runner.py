"""Run an engine: named tensors, one stream, a CUDA graph if wanted; neither torch nor cuda-python.

::

    feeds -> pinned host -> upload -> launch -> download -> pinned host -> results
                                      (one graph launch)

Each arrow can be called by itself, so that a benchmark can time the network with transfers and
without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from edgesr_export.errors import ExportError
from edgesr_export.feeds import as_type
from edgesr_export.tensorrt.api import Api, find_api
from edgesr_export.tensorrt.cuda import Buffer, Cuda, CudaError, find_cuda
from edgesr_export.tensorrt.inspector import EngineLayer, layers_of_engine
from edgesr_export.tensorrt.messages import logger, record
from edgesr_export.tensorrt.profile import check_shape
from edgesr_export.tensorrt.sidecar import check_engine

_TYPES: dict[str, type[np.generic]] = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}


@dataclass(frozen=True)
class Tensor:
    """An input or output of an engine.

    Attributes:
        dtype: of its values.
        axes: length of each; -1 where it is free.
    """

    dtype: np.dtype[Any]
    axes: tuple[int, ...]


class Runner:
    """A loaded engine; call it with an array [N, C, H, W], as a session of ONNX Runtime.

    Close it, or use it in a ``with`` block, to give the memory of the GPU back.

    Args:
        engine: file of the engine, with its side file beside it.
        onnx: network that it must have been built from; not compared when None.
        cuda_graph: launch the whole network as one recorded graph, which saves the time that
            the host takes for every kernel. Recorded anew for every shape.
        device: number of the GPU.
        api, cuda: libraries to use; by default those that are here.

    Attributes:
        name: the TensorRT and its version, for reports.
        device: such as "cuda:0".
        threads: 1; no thread of the host computes.
        inputs, outputs: :class:`Tensor` by name.

    Raises:
        StaleEngineError: the engine belongs to another network, GPU or TensorRT.
        ExportError: no GPU, or an engine that cannot be loaded.
    """

    threads = 1

    def __init__(
        self,
        engine: Path | str,
        *,
        onnx: Path | str | None = None,
        cuda_graph: bool = False,
        device: int = 0,
        api: Api | None = None,
        cuda: Cuda | None = None,
    ) -> None:
        self._path = Path(engine)
        cuda = cuda or find_cuda()
        gpu = None if cuda is None else cuda.device()
        if cuda is None or gpu is None:
            raise ExportError(
                f"{engine} needs a GPU and none is here (no CUDA driver); run the ONNX file in "
                "ONNX Runtime instead"
            )
        if device:
            cuda.select(device)
            gpu = cuda.device()
        side = check_engine(engine, onnx, api=api, device=gpu)
        self._api = api or find_api(side.library)
        self.name = f"{self._api.name} {self._api.version}"
        self.device = f"cuda:{device}"
        self._profile = side.ranges()
        self._cuda = cuda
        self._wants_graph = cuda_graph
        self._graph = 0
        self._buffers: dict[str, Buffer] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._stream = 0
        self._runtime, self._engine, self._context = self._load()
        tensors = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name).name for name in tensors}
        self.inputs = {n: self._tensor(n) for n in tensors if modes[n] == "INPUT"}
        self.outputs = {n: self._tensor(n) for n in tensors if modes[n] == "OUTPUT"}
        self._stream = cuda.stream()

    @property
    def path(self) -> Path:
        """The file of the engine."""
        return self._path

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Axes of the first input."""
        return next(iter(self.inputs.values())).axes

    @property
    def api(self) -> Api:
        """The TensorRT that it runs in."""
        return self._api

    @property
    def engine(self) -> Any:
        """TensorRT's engine, for those who ask it more; valid until the runner is closed."""
        return self._engine

    @property
    def context(self) -> Any:
        """TensorRT's execution context; likewise."""
        return self._context

    def layers(self) -> list[EngineLayer]:
        """What the engine inspector says of each layer."""
        return layers_of_engine(self._api, self._engine)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """First output for ``image``, which is converted to the engine's type."""
        results = self.run({next(iter(self.inputs)): image})
        return next(iter(results.values()))

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every output, by name, for an array for every input.

        Raises:
            ExportError: an input missing, unknown, or of a size that the engine does not serve.
            CudaError: the GPU failed, or has too little memory.
        """
        self.prepare(feeds)
        self.upload()
        self.launch()
        self.download()
        self.wait()
        return self.results()

    def prepare(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Set the shapes and put the feeds into host memory that the GPU can reach."""
        if set(feeds) != set(self.inputs):
            raise ExportError(
                f"{self._path.name} takes {', '.join(self.inputs)}; got {', '.join(feeds) or '-'}"
            )
        self._set_shapes({name: tuple(array.shape) for name, array in feeds.items()})
        for name, array in feeds.items():
            self._host(name)[...] = as_type(array, self.inputs[name].dtype, self._path.name)

    def upload(self) -> None:
        """Queue the copies to the GPU."""
        for name in self.inputs:
            self._buffers[name].upload(self._stream)

    def launch(self) -> None:
        """Queue the network on what was uploaded last."""
        if not self._wants_graph:
            self._execute()
            return
        if not self._graph:
            self._graph = self._recorded()
        self._cuda.call("cudaGraphLaunch", self._graph, self._stream)

    def download(self) -> None:
        """Queue the copies to the host."""
        for name in self.outputs:
            self._buffers[name].download(self._stream)

    def wait(self) -> None:
        """Until all that was queued is done."""
        self._cuda.call("cudaStreamSynchronize", self._stream)

    def results(self) -> dict[str, np.ndarray]:
        """Outputs that were downloaded last, as arrays of their own."""
        return {name: self._host(name).copy() for name in self.outputs}

    def close(self) -> None:
        """Give the memory of the GPU back."""
        self._drop_graph()
        self._context = self._engine = self._runtime = None
        for buffer in self._buffers.values():
            buffer.free()
        self._buffers.clear()
        if self._stream:
            self._cuda.call("cudaStreamDestroy", self._stream)
            self._stream = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self) -> tuple[Any, Any, Any]:
        with record(self._api) as said:
            runtime = self._api.module.Runtime(logger(self._api))
            engine = runtime.deserialize_cuda_engine(self._path.read_bytes())
            context = None if engine is None else self._new_context(engine)
        if context is None and said.of_memory:
            raise CudaError(
                f"the GPU has too little memory for {self._path}; build it for smaller tiles, or "
                "close other programs"
            )
        if context is None:
            text = said.errors[0][:200] if said.errors else "no reason given"
            raise ExportError(f"{self._path} cannot be loaded: {text}; build it again")
        return runtime, engine, context

    def _new_context(self, engine: Any) -> Any:
        strategies = getattr(self._api.module, "DynamicShapesKernelSpecializationStrategy", None)
        if strategies is None or not hasattr(engine, "create_runtime_config"):
            return engine.create_execution_context()
        config = engine.create_runtime_config()
        # RTX compiles on the board; do so at once, not in the background of a measurement
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        return engine.create_execution_context(config)

    def _tensor(self, name: str) -> Tensor:
        kind = self._engine.get_tensor_dtype(name).name
        if kind not in _TYPES:
            raise ExportError(f"tensor {name} of type {kind} is not supported; cast it in the file")
        return Tensor(np.dtype(_TYPES[kind]), tuple(self._engine.get_tensor_shape(name)))

    def _set_shapes(self, shapes: dict[str, tuple[int, ...]]) -> None:
        if all(self._shapes.get(name) == shape for name, shape in shapes.items()):
            return
        for name, shape in shapes.items():
            if name in self._profile:
                check_shape(name, shape, self._profile[name])
            elif shape != self.inputs[name].axes:
                raise ExportError(
                    f"input {name} has shape {list(shape)} and the engine serves "
                    f"{list(self.inputs[name].axes)} alone; build with a profile of sizes"
                )
        self._drop_graph()
        self._shapes.clear()
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise ExportError(f"TensorRT refuses the shape {list(shape)} of input {name}")
        outputs = {name: tuple(self._context.get_tensor_shape(name)) for name in self.outputs}
        for name, shape in {**shapes, **outputs}.items():
            if min(shape, default=0) < 0:
                raise ExportError(f"the size of {name} depends on the data; that is not supported")
            self._reserve(name, shape)
        self._shapes = {**shapes, **outputs}

    def _reserve(self, name: str, shape: tuple[int, ...]) -> None:
        tensor = self.inputs.get(name) or self.outputs[name]
        size = int(np.prod(shape)) * tensor.dtype.itemsize
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size != size:
            if buffer is not None:
                del self._buffers[name]
                buffer.free()
            self._buffers[name] = buffer = Buffer(self._cuda, size)
        self._context.set_tensor_address(name, buffer.address)

    def _host(self, name: str) -> np.ndarray:
        tensor = self.inputs.get(name) or self.outputs[name]
        return self._buffers[name].host.view(tensor.dtype).reshape(self._shapes[name])

    def _execute(self) -> None:
        with record(self._api) as said:
            done = self._context.execute_async_v3(self._stream)
        if not done:
            raise CudaError(f"{self._path.name} failed: {(said.errors or ['no reason given'])[0]}")

    def _recorded(self) -> int:
        self._execute()  # the first run of a shape allocates, which cannot be recorded
        self.wait()
        self._cuda.begin_capture(self._stream)
        try:
            self._execute()
        finally:
            graph = self._cuda.end_capture(self._stream)
        return graph

    def _drop_graph(self) -> None:
        if self._graph:
            self.wait()
            self._cuda.call("cudaGraphExecDestroy", self._graph)
            self._graph = 0
