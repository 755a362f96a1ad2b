"""An operator that TensorRT does not take: which layer, why, and the way out."""

from __future__ import annotations

import re
from typing import Any

import onnx

from export.errors import ExportError

WAYS_OUT = {
    "Resize": "enlarge by a whole factor without antialiasing, which is rewritten as a convolution",
    "QuantizeLinear": "quantise to int8 with zero point 0, the flavour of the target tensorrt",
    "DequantizeLinear": "quantise to int8 with zero point 0, the flavour of the target tensorrt",
    "LayerNormalization": "export with an opset below 17, which spells it out",
    "GroupNormalization": "export with an opset below 18, which spells it out",
    "Gelu": "export with an opset below 20, which spells it out",
    "GridSample": "export with opset 16 to 19",
    "DeformConv": "replace it by a plain convolution",
}
OTHERWISE = "replace it before the export, or run this file in ONNX Runtime"


class UnsupportedOperatorError(ExportError):
    """TensorRT does not take an operator of the network.

    Attributes:
        layer: name of the layer.
        operator: its type.
    """

    def __init__(self, message: str, layer: str, operator: str) -> None:
        super().__init__(message)
        self.layer = layer
        self.operator = operator


def parser_error(parser: Any, model: onnx.ModelProto) -> ExportError:
    """The first complaint of an ONNX parser that failed on ``model``, as one line."""
    if not parser.num_errors:
        return ExportError("TensorRT refuses the file and does not say why; check it with onnx")
    error = parser.get_error(0)
    index = error.node()
    if not 0 <= index < len(model.graph.node):
        return ExportError(f"TensorRT cannot read the file: {why(error.desc())}")
    node = model.graph.node[index]
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    others = parser.num_errors - 1
    return UnsupportedOperatorError(
        f"TensorRT does not take layer {node.name} ({operator}): {why(error.desc())}; "
        f"{WAYS_OUT.get(node.op_type, OTHERWISE)}{f' ({others} more)' if others else ''}",
        node.name,
        operator,
    )


def why(description: str) -> str:
    """The words within a complaint such as ``(antialias == 0) && "... not supported"``."""
    text = " ".join(description.split())
    if text == "false" or "Plugin not found" in text:
        return "it has no such operator"
    quoted = re.search(r'"([^"]+)"', text)
    if quoted:
        return quoted[1].rstrip(".")
    asserted = re.fullmatch(r"Assertion failed: (.+?): (.+)", text)
    return (asserted[2] if asserted else text).rstrip(".!")[:200]
