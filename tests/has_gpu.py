"""Is there a GPU? Asked of the CUDA driver, before anything is installed for one.

Prints its name and exits with 0, or says that there is none and exits with 2.
"""

from __future__ import annotations

import ctypes
import sys


def find() -> str:
    """Name of the first GPU.

    Raises:
        OSError: no driver, or no GPU.
    """
    driver = ctypes.CDLL("libcuda.so.1")
    count, device, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    for call, *arguments in (
        ("cuInit", 0),
        ("cuDeviceGetCount", ctypes.byref(count)),
        ("cuDeviceGet", ctypes.byref(device), 0),
        ("cuDeviceGetName", name, len(name), device),
    ):
        code = getattr(driver, call)(*arguments)
        if code:
            raise OSError(f"{call} answers {code}")
    return name.value.decode()


if __name__ == "__main__":
    try:
        print(f"GPU: {find()}")
    except OSError as error:
        print(f"no GPU: nothing was run ({error})", file=sys.stderr)
        sys.exit(2)
