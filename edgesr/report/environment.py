"""Where a run took place: versions and machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("edgesr", "torch", "numpy", "onnx", "onnxruntime")


def environment(device: str = "cpu", threads: int = 1) -> dict[str, str | int]:
    """Versions, processor and settings, as the report's ``environment``.

    Nothing heavy is imported but torch, and that only to ask the name of a GPU.

    Args:
        device: torch device, such as "cpu" or "cuda:0".
        threads: CPU threads of torch.
    """
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _processor(),
        "cores": os.cpu_count() or 1,
        "device": _device(device),
        "threads": threads,
    }


def _version(package: str) -> str:
    if package == "edgesr":  # also right when run from a checkout that is not installed
        from edgesr import __version__

        return __version__
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "Hardware") and value.strip():
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def _device(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})"
