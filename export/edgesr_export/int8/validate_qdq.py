"""Is a quantised graph what its target takes? A walk over the result, not over the intention."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from edgesr_export.errors import ExportError
from edgesr_export.int8.layers import find_layers
from edgesr_export.int8.scheme import QuantScheme

PAIR = ("QuantizeLinear", "DequantizeLinear")


def validate_qdq(model: onnx.ModelProto, chosen: Collection[str], scheme: QuantScheme) -> None:
    """Check every pair of a graph.

    Raises:
        ExportError: an activation of another type than the target's, a zero point other than 0
            where it must be 0, a weight that is not int8 with a scale per channel, a quantised
            bias, a layer of ``chosen`` in float or another one in int8, or invalid ONNX.
    """
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type in PAIR:
            problem = _problem(node, stored, scheme)
            if problem:
                raise ExportError(f"the pair {node.name} {problem}; do not use the file")
    for layer in find_layers(model):
        node = next(node for node in graph.node if node.name == layer.name)
        factors, biases = (
            [tensor in outputs and outputs[tensor].op_type in PAIR for tensor in tensors]
            for tensors in (node.input[:2], node.input[2:])
        )
        if any(biases):
            raise ExportError(f"the bias of {node.name} is quantised; it must stay float")
        quantised = all(factors)
        if quantised != (layer.name in chosen):
            raise ExportError(f"layer {layer.name} is not in the precision that was decided")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the quantised graph is not valid ONNX: {error}") from error


def _problem(node: onnx.NodeProto, stored: dict[str, TensorProto], scheme: QuantScheme) -> str:
    if len(node.input) < 3 or not {*node.input[1:]} <= stored.keys():
        return "has no stored scale and zero point"
    scale, zero = (numpy_helper.to_array(stored[name]) for name in node.input[1:])
    if not (scale > 0).all() or not np.isfinite(scale).all():
        return "has a scale that is not positive"
    values = stored.get(node.input[0])
    if values is None:
        if zero.dtype != scheme.element or zero.ndim or scale.ndim:
            return f"is not one of {np.dtype(scheme.element)} with one scale"
    else:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        if values.data_type != TensorProto.INT8 or zero.dtype != np.int8:
            return "holds weights that are not int8"
        if scale.shape != (values.dims[axis],) or zero.any():
            return "holds weights without a scale per channel and zero point 0"
    if scheme.symmetric and zero.any():
        return "has a zero point other than 0"
    return ""
