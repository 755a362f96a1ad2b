"""What a rule needs to know of the values that it matched."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)


def constant(node: ir.Node, index: int) -> np.ndarray | None:
    """The constant that is input ``index`` of the node; None if absent, computed or empty."""
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None or tensor.size == 0 else tensor.numpy()


def absent(node: ir.Node, index: int) -> bool:
    """Whether the optional input ``index`` is left out."""
    return len(node.inputs) <= index or node.inputs[index] is None


def channels(value: ir.Value) -> int | None:
    """Number of channels of an image [N, C, H, W]; None where it is no image or not known."""
    if value.shape is None or value.shape.rank() != 4:
        return None
    count = value.shape[1]
    return count if isinstance(count, int) else None


def producer(value: ir.Value) -> ir.Node:
    """The node that a pattern matched as the origin of ``value``."""
    node = value.producer()
    assert node is not None  # the pattern matched it
    return node


def shuffle_of(value: ir.Value) -> tuple[int, str]:
    """Block size and order of the DepthToSpace that ``value`` comes from."""
    attributes = producer(value).attributes
    return attributes.get_int("blocksize", 0), attributes.get_string("mode", "DCR")


def parts_of(value: ir.Value) -> list[ir.Value]:
    """What a Concat over channels joined to the image ``value``; nothing where it is none."""
    node = value.producer()
    if node is None or node.op_type != "Concat" or node.domain:
        return []
    if value.shape is None or value.shape.rank() != 4:
        return []
    if node.attributes.get_int("axis", 0) % 4 != 1:
        return []
    return [part for part in node.inputs if part is not None]


def sizes(op: Any, *lengths: int) -> ir.Value:
    """A constant list of lengths; 0 stands for the input's own, -1 for what is left."""
    constant_list: ir.Value = op.Constant(value_ints=list(lengths))
    return constant_list
