"""The few calls of the CUDA runtime that an engine needs, by ctypes: no torch, no cuda-python.

libcudart comes with CUDA, with JetPack, or with the package nvidia-cuda-runtime; whichever is
found serves, since every call here exists unchanged from CUDA 11.4 on.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgesr_export.errors import ExportError
from edgesr_export.tensorrt.api import Capability

NO_GPU = "there is no CUDA device here"
TO_DEVICE, FROM_DEVICE = 1, 2
OUT_OF_MEMORY = 2
_MAJOR, _MINOR = 75, 76  # attributes of a device
_RELAXED = 2  # other threads may do as they like while a graph is recorded
_LARGEST_PROPERTIES = 16384  # bytes; the structure begins with the name and grows with CUDA

_CALLS: dict[str, tuple[Any, ...]] = {
    "cudaGetDeviceCount": (POINTER(c_int),),
    "cudaGetDevice": (POINTER(c_int),),
    "cudaSetDevice": (c_int,),
    "cudaDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cudaGetDeviceProperties": (c_void_p, c_int),
    "cudaMemGetInfo": (POINTER(c_size_t), POINTER(c_size_t)),
    "cudaMalloc": (POINTER(c_void_p), c_size_t),
    "cudaFree": (c_void_p,),
    "cudaMallocHost": (POINTER(c_void_p), c_size_t),
    "cudaFreeHost": (c_void_p,),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaStreamCreateWithFlags": (POINTER(c_void_p), c_uint),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaStreamDestroy": (c_void_p,),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamEndCapture": (c_void_p, POINTER(c_void_p)),
    "cudaGraphInstantiateWithFlags": (POINTER(c_void_p), c_void_p, c_ulonglong),
    "cudaGraphLaunch": (c_void_p, c_void_p),
    "cudaGraphExecDestroy": (c_void_p,),
    "cudaGraphDestroy": (c_void_p,),
}


class CudaError(ExportError):
    """A call of the CUDA runtime failed."""


@dataclass(frozen=True)
class Device:
    """The GPU in use.

    Attributes:
        name: of the model, such as "Orin".
        capability: compute capability.
        free, total: bytes of memory.
    """

    name: str
    capability: Capability
    free: int
    total: int


class Cuda:
    """The CUDA runtime."""

    def __init__(self, library: Any) -> None:
        self._library = library
        for name, arguments in _CALLS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = c_int, arguments
        library.cudaGetErrorString.restype = c_char_p
        library.cudaGetErrorString.argtypes = (c_int,)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the runtime.

        Raises:
            CudaError: it failed; the message names the function.
        """
        code = getattr(self._library, name)(*arguments)
        if code == OUT_OF_MEMORY:
            free, total = self._memory()
            raise CudaError(
                f"the GPU has too little memory ({free / 2**20:.0f} of {total / 2**20:.0f} MB "
                "free); use smaller tiles or a smaller batch, or close other programs"
            )
        if code:
            text = self._library.cudaGetErrorString(code).decode(errors="replace")
            raise CudaError(f"{name} failed: {text} (CUDA error {code})")

    def device(self) -> Device | None:
        """The GPU in use; None where there is none, or no driver for it."""
        count, index, major, minor = c_int(), c_int(), c_int(), c_int()
        if self._library.cudaGetDeviceCount(byref(count)) or not count.value:
            return None
        self.call("cudaGetDevice", byref(index))
        self.call("cudaDeviceGetAttribute", byref(major), _MAJOR, index)
        self.call("cudaDeviceGetAttribute", byref(minor), _MINOR, index)
        properties = ctypes.create_string_buffer(_LARGEST_PROPERTIES)
        self.call("cudaGetDeviceProperties", properties, index)
        name = properties.value[:256].decode(errors="replace")
        return Device(name, (major.value, minor.value), *self._memory())

    def select(self, index: int) -> None:
        """Use the GPU of that number from now on, in this thread.

        Raises:
            CudaError: there is none.
        """
        self.call("cudaSetDevice", index)

    def stream(self) -> int:
        """A new stream that does not wait for the default one."""
        return self._created("cudaStreamCreateWithFlags", 1)

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes on the device."""
        return self._created("cudaMalloc", size)

    def allocate_host(self, size: int) -> int:
        """Address of ``size`` bytes on the host that the device reads without a copy between."""
        return self._created("cudaMallocHost", size)

    def begin_capture(self, stream: int) -> None:
        """Record what the stream is given next instead of doing it."""
        self.call("cudaStreamBeginCapture", stream, _RELAXED)

    def end_capture(self, stream: int) -> int:
        """An executable graph of what was recorded."""
        graph, executable = c_void_p(), c_void_p()
        self.call("cudaStreamEndCapture", stream, byref(graph))
        try:
            self.call("cudaGraphInstantiateWithFlags", byref(executable), graph, 0)
        finally:
            self.call("cudaGraphDestroy", graph)
        return executable.value or 0

    def _created(self, name: str, *arguments: Any) -> int:
        handle = c_void_p()
        self.call(name, byref(handle), *arguments)
        return handle.value or 0

    def _memory(self) -> tuple[int, int]:
        free, total = c_size_t(), c_size_t()
        self._library.cudaMemGetInfo(byref(free), byref(total))
        return free.value, total.value


class Buffer:
    """Memory for one tensor, on the device and, pinned, on the host.

    Attributes:
        address: on the device.
        host: uint8 [size], the memory on the host.
    """

    def __init__(self, cuda: Cuda, size: int) -> None:
        self._cuda = cuda
        self.size = size
        self.address = cuda.allocate(max(1, size))
        try:
            self._pinned = cuda.allocate_host(max(1, size))
        except CudaError:
            cuda.call("cudaFree", self.address)
            raise
        memory = (ctypes.c_uint8 * size).from_address(self._pinned)
        self.host = np.ctypeslib.as_array(memory)

    def upload(self, stream: int) -> None:
        """Queue the copy to the device."""
        self._copy(self.address, self._pinned, TO_DEVICE, stream)

    def download(self, stream: int) -> None:
        """Queue the copy to the host."""
        self._copy(self._pinned, self.address, FROM_DEVICE, stream)

    def free(self) -> None:
        self._cuda.call("cudaFree", self.address)
        self._cuda.call("cudaFreeHost", self._pinned)

    def _copy(self, target: int, source: int, kind: int, stream: int) -> None:
        self._cuda.call("cudaMemcpyAsync", target, source, self.size, kind, stream)


@cache
def find_cuda() -> Cuda | None:
    """The CUDA runtime of this machine; None where there is none."""
    for candidate in _candidates():
        try:
            return Cuda(ctypes.CDLL(candidate))
        except (OSError, AttributeError):  # not there, or older than CUDA 11.4
            continue
    return None


def find_device() -> Device | None:
    """The GPU in use; None where there is none."""
    cuda = find_cuda()
    return None if cuda is None else cuda.device()


def _candidates() -> Iterator[str]:
    names = ("libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0")
    found = ctypes.util.find_library("cudart")
    yield from (*((found,) if found else ()), *names)
    yield "/usr/local/cuda/lib64/libcudart.so"
    packages = importlib.util.find_spec("nvidia")
    for root in packages.submodule_search_locations or () if packages else ():
        yield from map(str, sorted(Path(root).glob("*/lib/libcudart.so.*"), reverse=True))
