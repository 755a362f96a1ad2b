"""The runner on a CUDA runtime and an engine that live in host memory.

What a GPU alone can show is in test_gpu.py. Here the runner's own work is tried: named tensors,
shapes, buffers, the recorded graph, and that nothing stays allocated.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.tensorrt import Runner, StaleEngineError, side_path
from edgesr_export.tensorrt.api import Api
from edgesr_export.tensorrt.cuda import Cuda, CudaError
from edgesr_export.tensorrt.messages import _loggers

LEAST, BEST, MOST = (1, 2, 2, 2), (1, 2, 4, 4), (3, 2, 8, 8)


class Cudart:
    """The CUDA runtime, with the host's memory for the device's; streams do all at once."""

    def __init__(self, devices=1, total=1 << 20):
        self.devices, self.total = devices, total
        self.memory = {}
        self.live = set()  # streams and graphs
        self.recording = None
        self.launches = 0
        self._functions = {}

    def __getattr__(self, name):
        if name.startswith("_") or f"_{name}" not in type(self).__dict__:
            raise AttributeError(name)
        if name not in self._functions:  # a function that takes argtypes, as those of ctypes do
            method = getattr(self, f"_{name}")
            self._functions[name] = type("F", (), {"__call__": lambda _, *a: method(*a)})()
        return self._functions[name]

    def do(self, action):
        if self.recording is None:
            action()
        else:
            self.recording.append(action)
        return 0

    def used(self):
        return sum(len(memory) for memory in self.memory.values())

    def _allocate(self, pointer, size):
        if self.used() + size > self.total:
            return 2
        memory = ctypes.create_string_buffer(size)
        pointer._obj.value = ctypes.addressof(memory)
        self.memory[pointer._obj.value] = memory
        return 0

    def _create(self, pointer, item):
        self.live.add(item)
        pointer._obj.value = id(item)
        return 0

    def _destroy(self, handle):
        self.live.discard(self._of(handle))
        return 0

    def _of(self, handle):
        handle = getattr(handle, "value", handle)
        return next(item for item in self.live if id(item) == handle)

    def _cudaGetDeviceCount(self, count):  # noqa: N802
        count._obj.value = self.devices
        return 0 if self.devices else 35

    def _cudaGetDevice(self, index):  # noqa: N802
        return 0

    def _cudaSetDevice(self, index):  # noqa: N802
        return 0 if index < self.devices else 101

    def _cudaDeviceGetAttribute(self, value, attribute, index):  # noqa: N802
        value._obj.value = {75: 8, 76: 7}[attribute]
        return 0

    def _cudaGetDeviceProperties(self, properties, index):  # noqa: N802
        properties.value = b"Orin"
        return 0

    def _cudaMemGetInfo(self, free, total):  # noqa: N802
        free._obj.value, total._obj.value = self.total - self.used(), self.total
        return 0

    def _cudaMalloc(self, pointer, size):  # noqa: N802
        return self._allocate(pointer, size)

    def _cudaMallocHost(self, pointer, size):  # noqa: N802
        return self._allocate(pointer, size)

    def _cudaFree(self, address):  # noqa: N802
        del self.memory[address]
        return 0

    _cudaFreeHost = _cudaFree  # noqa: N815

    def _cudaMemcpyAsync(self, target, source, size, kind, stream):  # noqa: N802
        return self.do(lambda: ctypes.memmove(target, source, size))

    def _cudaStreamCreateWithFlags(self, stream, flags):  # noqa: N802
        return self._create(stream, SimpleStream())

    def _cudaStreamSynchronize(self, stream):  # noqa: N802
        return 0 if self._of(stream) else 1

    def _cudaStreamBeginCapture(self, stream, mode):  # noqa: N802
        self.recording = []
        return 0

    def _cudaStreamEndCapture(self, stream, graph):  # noqa: N802
        made = tuple(self.recording)
        self.recording = None
        return self._create(graph, made)

    def _cudaGraphInstantiateWithFlags(self, executable, graph, flags):  # noqa: N802
        return self._create(executable, (*self._of(graph), None))

    def _cudaGraphLaunch(self, graph, stream):  # noqa: N802
        self.launches += 1
        for action in self._of(graph)[:-1]:
            action()
        return 0

    _cudaStreamDestroy = _cudaGraphDestroy = _cudaGraphExecDestroy = _destroy  # noqa: N815

    def _cudaGetErrorString(self, code):  # noqa: N802
        return b"something broke"


class SimpleStream:
    pass


class Engine:
    """y = 2 x, each pixel four times: [N, 2, h, w] -> [N, 2, 2 h, 2 w], in float16."""

    num_io_tensors = 2

    def __init__(self, cudart, axes):
        self.cudart, self.axes = cudart, axes
        self.shape, self.addresses = axes, {}
        self.runs = 0
        self.fails = False

    def create_execution_context(self):
        return self

    def get_tensor_name(self, index):
        return ("input", "output")[index]

    def get_tensor_mode(self, name):
        return SimpleNamespace(name=name.upper())

    def get_tensor_dtype(self, name):
        return SimpleNamespace(name="HALF" if name == "output" else "FLOAT")

    def get_tensor_shape(self, name):
        n, c, h, w = self.shape
        return [n, c, h, w] if name == "input" else [n, c, 2 * h, 2 * w]

    def set_input_shape(self, name, shape):
        self.shape = shape
        return True

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        if self.fails:
            return False
        shape, addresses = self.shape, dict(self.addresses)

        def work():
            self.runs += 1
            source = self.view(addresses["input"], shape, np.float32)
            n, c, h, w = shape
            target = self.view(addresses["output"], (n, c, 2 * h, 2 * w), np.float16)
            target[...] = 2 * source.repeat(2, 2).repeat(2, 3)

        self.cudart.do(work)
        return True

    @staticmethod
    def view(address, shape, dtype):
        size = math.prod(shape) * np.dtype(dtype).itemsize
        memory = (ctypes.c_char * size).from_address(address)
        return np.frombuffer(memory, dtype).reshape(shape)


def expected(x):
    return 2 * x.astype(np.float32).repeat(2, 2).repeat(2, 3)


@pytest.fixture
def cudart():
    return Cudart()


@pytest.fixture
def make(tmp_path, cudart, side_file):
    """Makes a runner of the engine above; its engine is at ``made.engine``."""
    runners = []

    def made(axes=(-1, 2, -1, -1), profile=True, loads=True, **options):
        path = tmp_path / "model.engine"
        path.write_bytes(b"an engine")
        shapes = {"input": [list(LEAST), list(BEST), list(MOST)]} if profile else {}
        side_path(path).write_bytes(replace(side_file, profile=shapes).to_json())
        engine = Engine(cudart, axes) if loads else None
        runtime = SimpleNamespace(deserialize_cuda_engine=lambda content: engine)
        module = SimpleNamespace(
            __name__="tensorrt",
            __version__="10.3.0",
            ILogger=object,
            Runtime=lambda logger: runtime,
        )
        runner = Runner(path, api=Api(module), cuda=Cuda(cudart), **options)
        runner.made_of = engine
        runners.append(runner)
        return runner

    yield made
    for runner in runners:
        runner.close()
    assert cudart.memory == {}
    assert cudart.live == set()


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_any_served_size_is_computed_in_any_order(make, cuda_graph):
    random = np.random.default_rng(0)
    with make(cuda_graph=cuda_graph) as runner:
        for shape in (BEST, BEST, MOST, LEAST, BEST):
            x = random.random(shape)
            y = runner(x)
            assert (y.shape, y.dtype) == (expected(x).shape, np.float16)
            np.testing.assert_allclose(y, expected(x), rtol=2e-3)


def test_results_of_one_run_outlive_the_next(make):
    runner = make()
    first = runner(np.ones(BEST))
    runner(np.zeros(BEST))
    assert (first == 2).all()


def test_a_graph_is_recorded_once_for_a_shape(make, cudart):
    runner = make(cuda_graph=True)
    for _ in range(3):
        runner(np.ones(BEST))
    assert (runner.made_of.runs, cudart.launches) == (4, 3)  # one run to warm up
    runner(np.ones(MOST))
    assert (runner.made_of.runs, cudart.launches) == (6, 4)
    assert len([item for item in cudart.live if isinstance(item, tuple)]) == 1


def test_the_steps_can_be_timed_one_by_one(make):
    runner = make()
    runner.prepare({"input": np.ones(BEST)})
    runner.upload()
    for _ in range(5):
        runner.launch()
    runner.wait()
    assert runner.made_of.runs == 5
    runner.download()
    runner.wait()
    assert (runner.results()["output"] == 2).all()


def test_tensors_are_described_by_name(make):
    runner = make()
    assert runner.inputs["input"].dtype == np.float32
    assert runner.outputs["output"].axes == (-1, 2, -2, -2)
    assert runner.input_shape == (-1, 2, -1, -1)


@pytest.mark.parametrize("shape", [(1, 2, 1, 4), (4, 2, 4, 4), (1, 3, 4, 4), (2, 4, 4)])
def test_a_tile_outside_the_profile_is_refused_and_the_runner_lives_on(make, shape):
    runner = make()
    runner(np.ones(BEST))
    with pytest.raises(ExportError, match="cut other tiles, or build with a wider profile"):
        runner(np.ones(shape))
    assert (runner(np.ones(BEST)) == 2).all()


def test_an_engine_of_one_size_says_so(make):
    runner = make(axes=BEST, profile=False)
    assert (runner(np.ones(BEST)) == 2).all()
    with pytest.raises(ExportError, match=r"serves \[1, 2, 4, 4\] alone; build with a profile"):
        runner(np.ones(MOST))


@pytest.mark.parametrize("feeds", [{}, {"x": np.ones(BEST)}, {"input": 1, "more": 2}])
def test_feeds_that_do_not_fit_are_named(make, feeds):
    with pytest.raises(ExportError, match=r"model\.engine takes input; got"):
        make().run(feeds)


def test_too_little_memory_is_one_line_and_frees_what_was_taken(make, cudart):
    runner = make()
    cudart.total = 600
    with pytest.raises(CudaError, match=r"too little memory \(.* MB free\); use smaller tiles"):
        runner(np.ones(MOST))
    cudart.total = 1 << 20
    assert (runner(np.ones(MOST)) == 2).all()


def test_a_failed_run_is_an_error(make):
    runner = make()
    runner.made_of.fails = True
    with pytest.raises(CudaError, match=r"model\.engine failed"):
        runner(np.ones(BEST))


def test_an_engine_that_does_not_load_is_an_error(make):
    with pytest.raises(ExportError, match=r"cannot be loaded: no reason given; build it again"):
        make(loads=False)


def test_too_little_memory_for_the_engine_itself_is_told(make, monkeypatch):
    def full(self):
        for logger in _loggers.values():
            logger.log(SimpleNamespace(name="ERROR"), "Cuda Runtime (out of memory)")

    monkeypatch.setattr(Engine, "create_execution_context", full)
    with pytest.raises(CudaError, match=r"too little memory for .*engine; build it for smaller"):
        make()


def test_another_gpu_can_be_chosen(make, cudart):
    assert make().device == "cuda:0"
    with pytest.raises(CudaError, match=r"cudaSetDevice failed: something broke \(CUDA error 101"):
        make(device=1)
    cudart.devices = 2
    runner = make(device=1)
    assert (runner.device, runner.name, runner.threads) == ("cuda:1", "tensorrt 10.3.0", 1)


def test_no_gpu_is_one_clear_line(make, cudart):
    cudart.devices = 0
    with pytest.raises(ExportError, match=r"needs a GPU and none is here.*ONNX Runtime instead"):
        make()


def test_an_engine_of_another_gpu_is_never_loaded(make, cudart, monkeypatch):
    monkeypatch.setattr(Cudart, "_cudaDeviceGetAttribute", lambda self, v, a, i: 0)
    with pytest.raises(StaleEngineError, match=r"compute capability 8\.7, and Orin has 0\.0"):
        make(loads=False)


def test_any_other_failure_of_cuda_names_the_call(make, monkeypatch):
    monkeypatch.setattr(Cudart, "_cudaMemcpyAsync", lambda *_: 700)
    runner = make()
    with pytest.raises(CudaError, match=r"cudaMemcpyAsync failed: something broke .*700"):
        runner(np.ones(BEST))
