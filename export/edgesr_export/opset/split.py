"""Split into ``num_outputs`` equal parts (opset 18) as a Split into parts of given sizes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

SINCE = 18
"""First operator set that has the attribute."""


def give_sizes(model: ir.Model) -> int:
    """Replace the attribute where the length of the axis is known; in place.

    As the standard has it, every part is as long as the first, but the last, which may be shorter.

    Returns:
        How many nodes were changed.
    """
    count = 0
    for node in model.graph:
        parts = node.attributes.get_int("num_outputs", None)
        shape = node.inputs[0].shape if node.inputs and node.inputs[0] is not None else None
        if node.op_type != "Split" or parts is None or shape is None:
            continue
        length = shape[node.attributes.get_int("axis", 0)]
        if not isinstance(length, int):
            continue
        longest = -(-length // parts)
        sizes = np.full(parts, longest, np.int64)
        sizes[-1] = length - longest * (parts - 1)
        if sizes[-1] < 0:  # the standard leaves open what this means
            continue
        value = ir.Value(name=f"{node.outputs[0].name}.sizes", const_value=ir.tensor(sizes))
        value.shape, value.dtype = ir.Shape([parts]), ir.DataType.INT64
        model.graph.register_initializer(value)
        node.resize_inputs(2)
        node.replace_input_with(1, value)
        del node.attributes["num_outputs"]
        count += 1
    return count
