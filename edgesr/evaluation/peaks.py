"""What this machine can do at most, measured: products of large matrices, and copying."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from edgesr.evaluation.latency import measure
from edgesr.evaluation.roofline import Roof

SIDE = 1536
"""Of the matrices: large enough that a product is all arithmetic, small enough for 30 ms."""

COPIED = 256 * 2**20  # bytes, beyond every cache
PEAKS = {
    "GEMM FP32, torch": "fp32",
    "GEMM FP32, ONNX Runtime": "fp32",
    "GEMM BF16, torch": "bf16",
    "GEMM INT8, ONNX Runtime": "int8",
    "copy": "copy",
}
"""By name: what a measurement is a peak of; of several for one precision the best counts."""

WORK = {name: 2 * COPIED if kind == "copy" else SIDE**3 for name, kind in PEAKS.items()}
"""MACs of one call; of a copy, bytes read and written."""


def calls(folder: Path, threads: int) -> dict[str, Callable[[], object]]:
    """One callable for each of :data:`PEAKS`."""
    left, right = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    halves = (left.bfloat16(), right.bfloat16())
    source = torch.ones(COPIED // 4)
    target = torch.empty_like(source)
    return {
        "GEMM FP32, torch": partial(torch.mm, left, right),
        "GEMM FP32, ONNX Runtime": _product(folder, "MatMul", np.float32, np.float32, threads),
        "GEMM BF16, torch": partial(torch.mm, *halves),
        "GEMM INT8, ONNX Runtime": _product(folder, "MatMulInteger", np.uint8, np.int8, threads),
        "copy": partial(target.copy_, source),
    }


def measure_roof(folder: Path, threads: int, repeats: int = 5) -> Roof:
    """The peaks of this machine: the fastest of several rounds, of all peaks in turn.

    Args:
        folder: for files that are needed meanwhile.
        threads: of the CPU.
        repeats: rounds.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = measure(calls(folder, threads), repeats, warmup=1)
    finally:
        torch.set_num_threads(before)
    operations: dict[str, float] = {}
    for name, kind in PEAKS.items():
        if kind != "copy":
            rate = 2 * WORK[name] / (found[name].min_ms / 1e3)
            operations[kind] = max(rate, operations.get(kind, 0.0))
    return Roof(operations, WORK["copy"] / (found["copy"].min_ms / 1e3))


def _product(
    folder: Path, operator: str, left: type[Any], right: type[Any], threads: int
) -> Callable[[], object]:
    """A x B with constant B, as a layer has it, of 8 bits or 32."""
    import onnxruntime

    rng = np.random.default_rng(0)
    a, b = (rng.integers(1, 100, (SIDE, SIDE)).astype(kind) for kind in (left, right))
    kind, result = (
        (TensorProto.FLOAT, TensorProto.FLOAT)
        if left is np.float32
        else (TensorProto.UINT8, TensorProto.INT32)
    )
    graph = helper.make_graph(
        [helper.make_node(operator, ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", kind, [SIDE, SIDE])],
        [helper.make_tensor_value_info("c", result, [SIDE, SIDE])],
        [onnx.numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    path = folder / f"{operator}.onnx"
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return partial(session.run, None, {"a": a})
