"""The precision that a typed ONNX file asks for, layer by layer.

Only layers with arithmetic worth the name count (:data:`COMPUTE`): the rest follows its
neighbours. A layer asks for

- int8, when what it multiplies comes from DequantizeLinear nodes;
- fp16 or fp32, when its data has that type.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal, get_args

import onnx
from onnx import TensorProto, numpy_helper

from edgesr_export.errors import ExportError, one_line

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul")
MOVES = ("Cast", "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze")
"""Operators between a DequantizeLinear and the layer that leave it a quantised layer."""

_TYPES: dict[int, str] = {
    TensorProto.FLOAT: "fp32",
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "bf16",
}


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name of its own, so that reports can be read; in place."""
    seen: Counter[str] = Counter()
    for index, node in enumerate(model.graph.node):
        name = node.name or f"{node.op_type}_{index}"
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{index}"


def requested(model: onnx.ModelProto) -> dict[str, str]:
    """Precision asked for, by name of the layer, for every layer of :data:`COMPUTE`.

    Raises:
        ExportError: types that cannot be inferred, or a quantisation that TensorRT does not have.
    """
    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    _check_quantisation(graph)
    types = _element_types(model)
    asked = {}
    for node in graph.node:
        if node.op_type not in COMPUTE or node.domain:
            continue
        if all(_dequantised(name, producers) for name in node.input[:2]):
            asked[node.name] = "int8"
        else:
            kind = _TYPES.get(types.get(node.output[0], TensorProto.UNDEFINED))
            if kind is None:
                raise ExportError(
                    f"layer {node.name} ({node.op_type}) has no known floating-point type; "
                    "export the network in float32 or float16"
                )
            asked[node.name] = kind
    return asked


def check_expected(asked: dict[str, str], kept: dict[str, str], expect: str) -> None:
    """Does the file ask for what the caller expects?

    Args:
        asked: of :func:`requested`.
        kept: layers that stand in float32 on purpose, with the reason.
        expect: "fp32": every layer. "fp16": every layer but those in ``kept``. "int8": at least
            one layer; the others have the type that the quantiser left them.

    Raises:
        ExportError: it does not.
    """
    if expect not in PRECISIONS:
        raise ExportError(f"a precision is one of {', '.join(PRECISIONS)}, got {expect!r}")
    if expect != "fp32" and expect not in asked.values():
        raise ExportError(
            f"{expect} was asked for and no layer of the file is typed so "
            f"({_summary(asked)}); edgesr export --target tensorrt --precision {expect} writes "
            "such a file"
        )
    others = [
        name
        for name, precision in asked.items()
        if precision != expect and expect != "int8" and name not in kept
    ]
    if others:
        raise ExportError(
            f"{expect} was asked for and {len(others)} layers of the file are typed otherwise, "
            f"such as {others[0]} ({asked[others[0]]}); convert the file first, or ask for "
            "what it holds"
        )


def _summary(asked: dict[str, str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(asked.values()).items()))


def _dequantised(name: str, producers: dict[str, onnx.NodeProto]) -> bool:
    node = producers.get(name)
    while node is not None and node.op_type in MOVES:
        node = producers.get(node.input[0])
    return node is not None and node.op_type == "DequantizeLinear"


def _check_quantisation(graph: onnx.GraphProto) -> None:
    constants = _constants(graph)
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        point = constants.get(node.input[2]) if len(node.input) > 2 else None
        problem = ""
        if point is None:
            typed = any(attribute.name == "output_dtype" for attribute in node.attribute)
            if node.op_type == "QuantizeLinear" and len(node.input) < 3 and not typed:
                problem = "has no zero point, which means uint8"
        elif point.data_type == TensorProto.UINT8:
            problem = "uses uint8"
        elif numpy_helper.to_array(point).any():
            problem = "has a zero point other than 0"
        if problem:
            raise ExportError(
                f"layer {node.name} ({node.op_type}) {problem}; TensorRT has int8 with zero "
                "point 0 alone: quantise symmetrically, for the target tensorrt"
            )


def _constants(graph: onnx.GraphProto) -> dict[str, TensorProto]:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    constants[node.output[0]] = attribute.t
    return constants


def _element_types(model: onnx.ModelProto) -> dict[str, int]:
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except onnx.shape_inference.InferenceError as error:
        raise ExportError(f"types of the file cannot be inferred: {one_line(error)}") from error
    graph = inferred.graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}
