"""NVIDIA ModelOpt: int8 of the ONNX file. It places Q/DQ for TensorRT; here a CPU runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers.inputs import Inputs
from benchmarks.peers.peer import Environment, Made, Peer, register


def quantised(inputs: Inputs, output: Path) -> Iterator[Made]:
    """Both calibrations, calibrated on the CPU."""
    from modelopt.onnx.quantization import quantize

    for method in ("entropy", "max"):
        path = output / f"{method}.onnx"
        quantize(
            str(inputs.onnx), quantize_mode="int8", calibration_data=inputs.calibration,
            calibration_method=method, calibration_eps=["cpu"], high_precision_dtype="fp32",
            output_path=str(path),
        )  # fmt: skip
        yield Made(f"calibration {method}", path)


register(
    Peer(
        "modelopt",
        "ModelOpt, int8",
        'modelopt.onnx.quantization.quantize(file, quantize_mode="int8", calibration_data=tiles,'
        ' calibration_eps=["cpu"], high_precision_dtype="fp32"), made for TensorRT',
        "https://nvidia.github.io/Model-Optimizer/guides/_onnx_quantization.html",
        quantised,
        Environment("modelopt", ("nvidia-modelopt[onnx]==0.47.0",)),
    )
)
