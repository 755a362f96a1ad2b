"""Which operator keeps the size of the image that a network was traced with?"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from edgesr_export.profile.source import module_of


def first_difference(one: onnx.ModelProto, other: onnx.ModelProto) -> str:
    """The first operator whose constants differ, in words; empty where there is none.

    Args:
        one: a network.
        other: the same, traced with an image of another size; its weights are the same.
    """
    stored, others = _constants(one), _constants(other)
    nodes, twins = (
        [node for node in model.graph.node if node.op_type != "Constant"] for model in (one, other)
    )
    for node, twin in zip(nodes, twins, strict=False):
        pairs = zip(node.input, twin.input, strict=False)
        same = node.op_type == twin.op_type and len(node.input) == len(twin.input)
        same = same and [*node.attribute] == [*twin.attribute]
        if not same or any(_differ(stored.get(a), others.get(b)) for a, b in pairs):
            module = module_of(node)
            place = f" in {module}" if module else ""
            return f"{node.name or node.output[0]} ({node.op_type}{place})"
    return ""


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        values = [a.t for a in node.attribute if a.name == "value"]
        if node.op_type == "Constant" and values:
            found[node.output[0]] = values[0]
    return found


def _differ(one: onnx.TensorProto | None, other: onnx.TensorProto | None) -> bool:
    if one is None or other is None:
        return (one is None) != (other is None)
    return one.dims != other.dims or not np.array_equal(
        numpy_helper.to_array(one), numpy_helper.to_array(other)
    )
