"""An operator that a runtime does not have: which layer, and the way out."""

from __future__ import annotations

import re

import onnx

from export.errors import ExportError

NOT_REGISTERED = re.compile(r"(?:([\w.]+):)?(\w+)\(-?\d+\) is not a registered function/op")
NO_KERNEL = re.compile(r"implementation for (?:([\w.]+)\.)?(\w+)\(\d+\) node")


class UnsupportedOperatorError(ExportError):
    """A runtime has no such operator.

    Attributes:
        layer: name of the layer.
        operator: its type, with its domain if it is not of the standard.
    """

    def __init__(self, message: str, layer: str, operator: str) -> None:
        super().__init__(message)
        self.layer = layer
        self.operator = operator


def explain(error: ExportError, model: onnx.ModelProto, runtime: str) -> ExportError:
    """The same error, or one that names layer, operator and way out where it is about one."""
    found = NOT_REGISTERED.search(str(error)) or NO_KERNEL.search(str(error))
    if found is None:
        return error
    domain, operator = found[1] or "", found[2]
    layer = next((node.name for node in model.graph.node if node.op_type == operator), "")
    full = f"{domain}.{operator}" if domain and domain != "ai.onnx" else operator
    named = f"layer {layer} ({full})" if layer else f"operator {full}"
    return UnsupportedOperatorError(
        f"{runtime} does not take {named}; replace it by standard operators before the export",
        layer,
        full,
    )
