"""The few calls of the CUDA driver that an engine needs, through ctypes.

The driver library comes with every JetPack and needs no Python package. Pinned host memory is
handed out as numpy arrays.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from .errors import BoardError, one_line

LIBRARY = "libcuda.so.1"

_OUT_OF_MEMORY = 2
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_MB = 1 << 20


class Cuda:
    """Device 0 with its primary context current in this thread, and one stream.

    Attributes:
        name: of the GPU.
        capability: compute capability, such as ``8.7``.
        driver: version of CUDA that the driver offers, such as ``12.6``.
        stream: handle, as TensorRT takes it.

    Raises:
        BoardError: no driver, or no GPU.
    """

    def __init__(self, library: Any = None) -> None:
        self._cuda = library if library is not None else _load()
        self._check("cuInit", ctypes.c_uint(0))
        version = ctypes.c_int()
        self._check("cuDriverGetVersion", ctypes.byref(version))
        self.driver = f"{version.value // 1000}.{version.value % 1000 // 10}"
        device = ctypes.c_int()
        self._check("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        name = ctypes.create_string_buffer(256)
        self._check("cuDeviceGetName", name, ctypes.c_int(256), device)
        self.name = name.value.decode(errors="replace")
        self.capability = ".".join(
            str(self._attribute(which, device)) for which in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR)
        )
        context = ctypes.c_void_p()
        self._check("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._check("cuCtxSetCurrent", context)
        stream = ctypes.c_void_p()
        self._check("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(0))
        self._stream = stream
        self.stream = stream.value or 0

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes on the device.

        Raises:
            BoardError: not enough memory; says how much was asked for and how much is free.
        """
        address = ctypes.c_uint64()
        self._check("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size), size=size)
        return int(address.value)

    def release(self, address: int) -> None:
        """Give memory of :meth:`allocate` back."""
        self._check("cuMemFree_v2", ctypes.c_uint64(address))

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Array in page-locked host memory, which copies faster; see :meth:`unpin`."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = ctypes.c_void_p()
        self._check(
            "cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(size), ctypes.c_uint(0)
        )
        block = (ctypes.c_ubyte * size).from_address(address.value or 0)
        return np.frombuffer(block, dtype=dtype).reshape(shape)

    def unpin(self, array: np.ndarray) -> None:
        """Give memory of :meth:`pinned` back; the array must not be touched afterwards."""
        self._check("cuMemFreeHost", ctypes.c_void_p(array.ctypes.data))

    def copy_in(self, address: int, array: np.ndarray) -> None:
        """Queue a copy from pinned memory to the device."""
        self._check(
            "cuMemcpyHtoDAsync_v2",
            ctypes.c_uint64(address),
            ctypes.c_void_p(array.ctypes.data),
            ctypes.c_size_t(array.nbytes),
            self._stream,
        )

    def copy_out(self, array: np.ndarray, address: int) -> None:
        """Queue a copy from the device to pinned memory."""
        self._check(
            "cuMemcpyDtoHAsync_v2",
            ctypes.c_void_p(array.ctypes.data),
            ctypes.c_uint64(address),
            ctypes.c_size_t(array.nbytes),
            self._stream,
        )

    def synchronise(self) -> None:
        """Wait for all that was queued."""
        self._check("cuStreamSynchronize", self._stream)

    def memory_mb(self) -> tuple[float, float]:
        """Free and total memory of the device; a Jetson shares it with the processor."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._check("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value / _MB, total.value / _MB

    def _attribute(self, which: int, device: ctypes.c_int) -> int:
        value = ctypes.c_int()
        self._check("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(which), device)
        return value.value

    def _check(self, function: str, *arguments: Any, size: int = 0) -> None:
        status = getattr(self._cuda, function)(*arguments)
        if status == _OUT_OF_MEMORY:
            free, total = self.memory_mb() if size else (0.0, 0.0)
            wanted = f"{size / _MB:.0f} MB asked for, {free:.0f} of {total:.0f} MB free"
            raise BoardError(
                f"too little GPU memory ({wanted if size else function}); close other programs, "
                "or choose a smaller --tile"
            )
        if status != 0:
            raise BoardError(f"CUDA answered {self._error_name(status)} to {function}")

    def _error_name(self, status: int) -> str:
        name = ctypes.c_char_p()
        if getattr(self._cuda, "cuGetErrorName")(ctypes.c_int(status), ctypes.byref(name)) != 0:  # noqa: B009
            return f"error {status}"
        return (name.value or b"").decode()


def _load() -> Any:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise BoardError(f"no CUDA driver ({one_line(error)})") from error
