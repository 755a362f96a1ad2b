"""The layers of a graph that could compute in int8: those that multiply by stored weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, numpy_helper
from onnx_ir.passes.common import InlinePass, LiftConstantsToInitializersPass

from edgesr_export.errors import ExportError
from edgesr_export.tensorrt.requested import COMPUTE, name_nodes

FIRST_OPSET = 13
"""The first with one scale per channel."""

_SUM_TOLERANCE = 1e-3  # weights that were float16 once


@dataclass(frozen=True)
class Layer:
    """A node of :data:`edgesr_export.tensorrt.requested.COMPUTE`.

    Attributes:
        name: of the node; unique.
        operator: of the node.
        shape: of its weights; empty where both factors are computed.
        groups: of a convolution, else 1.
        dilations: of a convolution, else empty.
        strides: likewise.
        fixed: why it must stay float; empty where int8 is possible.
    """

    name: str
    operator: str
    shape: tuple[int, ...]
    groups: int = 1
    dilations: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    fixed: str = ""

    @property
    def kind(self) -> str:
        """Word for the layer: "dense 3x3 conv", "depthwise 7x7 conv, dilated by 3", ..."""
        if self.operator not in ("Conv", "ConvTranspose"):
            return self.operator
        window = "x".join(map(str, self.shape[2:]))
        spread = max(self.dilations, default=1)
        depthwise = self.groups > 1 and self.shape[1] == 1
        form = "depthwise" if depthwise else "grouped" if self.groups > 1 else "dense"
        word = "transposed conv" if self.operator == "ConvTranspose" else "conv"
        return f"{form} {window} {word}" + (f", dilated by {spread}" if spread > 1 else "")

    @property
    def signature(self) -> tuple[object, ...]:
        """Layers of equal signature take equal time on images of equal size."""
        return (self.operator, self.shape, self.groups, self.dilations, self.strides)

    @property
    def multiplications(self) -> int:
        """Multiplications per pixel, stride aside."""
        return math.prod(self.shape)


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with functions inlined, constants as initializers and a name everywhere.

    Raises:
        ExportError: an operator set before 13, more than one input, an input that is no float32
            image, or a file that is quantised already.
    """
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if opset < FIRST_OPSET:
        raise ExportError(
            f"the file has opset {opset} and int8 needs {FIRST_OPSET}; export it again, or convert"
            " it with onnx.version_converter"
        )
    graph = ir.from_proto(model)
    InlinePass()(graph)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(graph)
    prepared = ir.to_proto(graph)
    name_nodes(prepared)
    operators = {node.op_type for node in prepared.graph.node}
    if operators & {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger"}:
        raise ExportError("the file is quantised already; give the float32 file it was made from")
    stored = {tensor.name for tensor in prepared.graph.initializer}
    inputs = [value for value in prepared.graph.input if value.name not in stored]
    kinds = [value.type.tensor_type.elem_type for value in inputs]
    if kinds != [TensorProto.FLOAT] or len(inputs[0].type.tensor_type.shape.dim) != 4:
        raise ExportError(
            "int8 takes networks of one float32 input [N, C, H, W], got "
            + (", ".join(f"{v.name} of {_type_name(v)}" for v in inputs) or "none")
            + "; convert to half precision after quantising, not before"
        )
    return prepared


def find_layers(model: onnx.ModelProto) -> list[Layer]:
    """All layers of :data:`edgesr_export.tensorrt.requested.COMPUTE`, in the order of the graph."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    return [
        _describe(node, weights.get(node.input[1]))
        for node in model.graph.node
        if node.op_type in COMPUTE and not node.domain
    ]


def is_interpolation(weight: np.ndarray) -> bool:
    """Whether a depthwise conv enlarges by fixed weights, as :mod:`edgesr_export.rewrite` does.

    Each of its kernels, or each column and row that a kernel was split into, sums to 1, so that a
    constant image stays what it is; no training gives that for all channels.
    """
    if weight.ndim != 4 or weight.shape[1] != 1:
        return False
    sums = weight.astype(np.float64).sum((1, 2, 3))
    return bool(np.allclose(sums, 1, atol=_SUM_TOLERANCE))


def _describe(node: onnx.NodeProto, weight: TensorProto | None) -> Layer:
    if weight is None:
        return Layer(node.name, node.op_type, (), fixed="both factors are computed")
    attributes = {attribute.name: attribute for attribute in node.attribute}
    groups = attributes["group"].i if "group" in attributes else 1
    dilations, strides = (
        tuple(attributes[name].ints) if name in attributes else ()
        for name in ("dilations", "strides")
    )
    fixed = ""
    if weight.data_type != TensorProto.FLOAT:
        fixed = "its weights are not float32"
    elif node.op_type == "Conv" and is_interpolation(numpy_helper.to_array(weight)):
        fixed = "interpolates with fixed weights: the residual branch stays float"
    shape = tuple(weight.dims)
    return Layer(node.name, node.op_type, shape, groups, dilations, strides, fixed)


def _type_name(value: onnx.ValueInfoProto) -> str:
    kind = TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    return f"{kind} with {len(value.type.tensor_type.shape.dim)} axes"
