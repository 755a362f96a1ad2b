"""ONNX Runtime's static quantisation of the whole network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.peers.inputs import Inputs
from benchmarks.peers.peer import Made, Peer, register


def quantised(inputs: Inputs, output: Path) -> Iterator[Made]:
    """As the documentation has it: preprocessed, then Q/DQ; weights by tensor and by channel."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = onnx.load(inputs.onnx).graph.input[0].name

    class Tiles(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(inputs.calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            tile = next(self.left, None)
            return None if tile is None else {name: tile[None]}

    prepared = output / "prepared.onnx"
    quant_pre_process(str(inputs.onnx), str(prepared), skip_symbolic_shape=True)
    for per_channel in (False, True):
        path = output / f"{'channel' if per_channel else 'tensor'}.onnx"
        quantize_static(
            str(prepared), str(path), Tiles(), quant_format=QuantFormat.QDQ, per_channel=per_channel
        )
        yield Made(f"weights per {path.stem}", path)


register(
    Peer(
        "onnxruntime-int8",
        "ONNX Runtime, int8",
        "quant_pre_process(skip_symbolic_shape=True: it fails on this graph), then"
        " quantize_static(quant_format=QDQ), MinMax, all operators",
        "https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html",
        quantised,
    )
)
