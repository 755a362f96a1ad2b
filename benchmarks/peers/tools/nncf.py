"""NNCF's post-training quantisation of the whole network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers.inputs import Inputs
from benchmarks.peers.peer import Made, Peer, register


def quantised(inputs: Inputs, output: Path) -> Iterator[Made]:
    """Both presets, on the ONNX file."""
    import nncf
    import onnx
    from edgesr_export.int8.telemetry import silence_telemetry

    silence_telemetry()
    model = onnx.load(inputs.onnx)
    name = model.graph.input[0].name
    tiles = nncf.Dataset([{name: tile[None]} for tile in inputs.calibration])
    for preset in (nncf.QuantizationPreset.PERFORMANCE, nncf.QuantizationPreset.MIXED):
        path = output / f"{preset.value}.onnx"
        onnx.save(nncf.quantize(model, tiles, preset=preset), path)
        yield Made(f"preset {preset.value}", path)


register(
    Peer(
        "nncf",
        "NNCF, int8",
        "nncf.quantize(model, dataset) of the ONNX file, all layers, both presets",
        "https://docs.openvino.ai/2026/openvino-workflow/model-optimization-guide/quantizing-models-post-training/basic-quantization-flow.html",
        quantised,
    )
)
