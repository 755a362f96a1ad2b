"""An operator that a runtime does not have: which layer, and the way out."""

from __future__ import annotations

import re

import numpy as np
import onnx

from edgesr_export.errors import ExportError

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


def refuse_antialias(
    model: onnx.ModelProto, complaint: str, *, where_it_enlarges: bool = True
) -> None:
    """Refuse a resize that filters before it shrinks, for a target that cannot do it.

    Args:
        model: the network.
        complaint: what the target does with it, such as "TensorRT does not take".
        where_it_enlarges: also where a resize provably enlarges, so that nothing is filtered.

    Raises:
        UnsupportedOperatorError: there is one.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for index, node in enumerate(model.graph.node):
        set_ = {a.name: a.i for a in node.attribute}
        if node.op_type != "Resize" or node.domain or not set_.get("antialias"):
            continue
        scales = constants.get(node.input[2]) if len(node.input) > 2 else None
        enlarges = scales is not None and bool(np.all(onnx.numpy_helper.to_array(scales) >= 1))
        if enlarges and not where_it_enlarges:
            continue
        name = node.name or f"Resize_{index}"
        raise UnsupportedOperatorError(
            f"{complaint} layer {name} (Resize with antialias=1); use --target "
            "cpu, where ONNX Runtime runs it, or export the network with antialias off",
            name,
            "Resize",
        )
