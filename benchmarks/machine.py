"""What stands beside every figure: the machine, its threads, the versions."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edgesr.report.environment import environment

RUNTIMES = ("openvino", "nncf", "tensorrt", "tensorrt_rtx", "onnxruntime-gpu")


def machine(device: str = "cpu") -> dict[str, Any]:
    """Processor, device, threads and versions; nothing that names the owner of the machine."""
    import onnxruntime
    import torch

    facts = environment(device, torch.get_num_threads())
    facts["onnxruntime"] = onnxruntime.__version__  # onnxruntime-gpu is a package of its own
    return {**facts, **{name: found for name in RUNTIMES if (found := _version(name))}}


def file_name(facts: dict[str, Any]) -> str:
    """Name of the results of a machine, such as ``amd-epyc-2-threads``."""
    device = str(facts["device"])
    words = f"{facts['cpu']} {facts['threads']} threads" if device == "cpu" else device
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
