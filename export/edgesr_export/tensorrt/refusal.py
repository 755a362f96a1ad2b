"""An operator that TensorRT does not take: which layer, why, and the way out."""

from __future__ import annotations

import re
from typing import Any

import onnx

from edgesr_export.errors import ExportError
from edgesr_export.unsupported import UnsupportedOperatorError, refuse_antialias

WAYS_OUT = {
    "Resize": "enlarge by a whole factor, which edgesr export rewrites as a convolution",
    "QuantizeLinear": "quantise to int8 with zero point 0, the scheme of the target tensorrt",
    "DequantizeLinear": "quantise to int8 with zero point 0, the scheme of the target tensorrt",
    "LayerNormalization": "edgesr export --opset 16 spells it out",
    "GroupNormalization": "edgesr export --opset 17 spells it out",
    "Gelu": "edgesr export --opset 17 spells it out",
    "GridSample": "export the network with opset 16 to 19",
    "DeformConv": "replace it by a plain convolution",
}
OTHERWISE = "replace it before the export, or run this file in ONNX Runtime"


def refuse(model: onnx.ModelProto) -> None:
    """Refuse what no TensorRT takes.

    Raises:
        UnsupportedOperatorError: there is such an operator.
    """
    refuse_antialias(model, "TensorRT does not take")


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
    name = node.name or f"{node.op_type}_{index}"
    others = parser.num_errors - 1
    return UnsupportedOperatorError(
        f"TensorRT does not take layer {name} ({operator}): {why(error.desc())}; "
        f"{WAYS_OUT.get(node.op_type, OTHERWISE)}{f' ({others} more)' if others else ''}",
        name,
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
