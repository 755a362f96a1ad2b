"""Which runtime runs the networks: TensorRT where it works, else onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Union

from .errors import BoardError
from .ort import OrtBackend
from .trt import Say, TensorRTBackend
from .trt_build import BuildSettings

Backend = Union[TensorRTBackend, OrtBackend]

RUNTIMES = ("auto", "tensorrt", "onnxruntime")


def choose(
    wanted: str,
    engines: Path,
    l4t: Any,
    settings: BuildSettings,
    threads: int | None,
    say: Say,
) -> tuple[Backend, str | None]:
    """Return a runtime, and why TensorRT was passed over if it was.

    Raises:
        BoardError: the wanted runtime, or with ``auto`` both, cannot be used.
    """
    if wanted == "onnxruntime":
        return OrtBackend(threads), "--runtime onnxruntime"
    try:
        return TensorRTBackend(engines, l4t, settings, say), None
    except BoardError as without_tensorrt:
        if wanted == "tensorrt":
            raise
        try:
            return OrtBackend(threads), str(without_tensorrt)
        except BoardError as without_ort:
            raise BoardError(
                f"nothing here can run a network: {without_tensorrt}; {without_ort}; on JetPack "
                "install python3-libnvinfer, elsewhere onnxruntime"
            ) from without_ort
