"""New nodes for a graph: named, collected in order, with their constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

TYPES = {
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "int16": TensorProto.INT16,
    "float32": TensorProto.FLOAT,
    "bool": TensorProto.BOOL,
}


class Nodes:
    """Call it with an operator, tensors and attributes; the answer is the name of the output.

    An array among the tensors becomes a constant.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.constants: list[TensorProto] = []
        self._new: list[onnx.NodeProto] = []
        self._count = 0

    def __call__(self, operator: str, *inputs: str | np.ndarray, **attributes: Any) -> str:
        self._count += 1
        name = f"native.{operator}_{self._count}"
        tensors = [
            self._constant(given, f"{name}.{index}") if isinstance(given, np.ndarray) else given
            for index, given in enumerate(inputs)
        ]
        domain = attributes.pop("domain", None)
        node = onnx.helper.make_node(operator, tensors, [name], name, domain=domain, **attributes)
        self._new.append(node)
        return name

    def cast(self, tensor: str, dtype: str) -> str:
        return self("Cast", tensor, to=TYPES[dtype])

    def any_band(self, conditions: str) -> str:
        """[N, B, h, w] of bool to [N, 1, h, w]: whether any is true."""
        numbers = self.cast(conditions, "float32")
        if self.opset < 18:  # the axes became an input
            most = self("ReduceMax", numbers, axes=[1], keepdims=1)
        else:
            most = self("ReduceMax", numbers, integers(1), keepdims=1)
        return self.cast(most, "bool")

    def take(self) -> list[onnx.NodeProto]:
        """The nodes made since the last call."""
        new, self._new = self._new, []
        return new

    def _constant(self, array: np.ndarray, name: str) -> str:
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def number(value: float) -> np.ndarray:
    """A constant of float32."""
    return np.array(value, np.float32)


def numbers(values: Any, *shape: int) -> np.ndarray:
    """Constants of float32 in a shape."""
    return np.asarray(values, np.float64).astype(np.float32).reshape(shape)


def integers(*values: int) -> np.ndarray:
    """A list of sizes or axes."""
    return np.array(values, np.int64)
