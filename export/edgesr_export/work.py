"""What an ONNX file computes and moves: multiply-accumulates and bytes, node by node.

MACs are those of convolutions and matrix products, biases free; all else computes nothing worth
counting. Bytes are what a node reads and writes once: activations and weights, in the type of the
file. Pairs of Q/DQ are no work of their own: what lies between them moves as 8 bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, shape_inference

from edgesr_export.errors import ExportError, one_line
from edgesr_export.model_file import load_model
from edgesr_export.profile.source import FUSED_BEHIND, Node, Source

_PRECISIONS: dict[int, str] = {
    TensorProto.FLOAT: "fp32",
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "int8",
}
_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
_PAIRS = frozenset(("QuantizeLinear", "DequantizeLinear"))
_FREE = frozenset(
    ("Constant", "Dropout", "Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Unsqueeze")
)
"""Change no number and move none."""


@dataclass(frozen=True)
class LayerWork:
    """What one layer does: a node, and the pointwise ones that runtimes compute with it.

    Attributes:
        layer: name of its node.
        op: type of the operator.
        nodes: names of all its nodes.
        module: path of the network's module; empty where unknown.
        macs: multiply-accumulates.
        bytes: read and written, weights included.
        precision: that it computes in: "fp32", "fp16", "bf16" or "int8".
    """

    layer: str
    op: str
    nodes: tuple[str, ...]
    module: str
    macs: int
    bytes: int
    precision: str


class Work:
    """Of one file at one size of its input.

    Args:
        path: ONNX file of one input.
        shape: [N, B, h, w] of the input.

    Raises:
        ExportError: no such file, or one whose shapes cannot be told for this input.
    """

    def __init__(self, path: Path | str, shape: Sequence[int]) -> None:
        model = _with_shapes(load_model(Path(path)), shape, path)
        self._source = Source(model)
        self._tensors = _tensors(model)
        self._behind = {
            output: node.inputs[0]
            for node in self._source.nodes
            if node.op == "DequantizeLinear"
            for output in node.outputs
        }
        self._quantised = {
            node.inputs[0]: node.outputs[0]
            for node in self._source.nodes
            if node.op == "QuantizeLinear"
        }
        self._weights = {tensor.name for tensor in model.graph.initializer}
        self._results = {value.name for value in model.graph.output}
        protos = {node.name or node.output[0]: node for node in model.graph.node}
        self._working = {
            node.name: node
            for node in self._source.nodes
            if node.op not in _PAIRS | _FREE and self._moves_numbers(node)
        }
        self._macs = {
            name: self._node_macs(node, protos[name]) for name, node in self._working.items()
        }

    def layers(self) -> list[LayerWork]:
        """Every layer, in the order of the file."""
        leads = [node for node in self._working.values() if node.op not in FUSED_BEHIND]
        groups = self._source.absorbed([(node.name, node.outputs) for node in leads])
        taken = {name for names in groups.values() for name in names}
        alone = [name for name in self._working if name not in taken]
        named = {**{node.name: groups[node.name] for node in leads}, **{n: (n,) for n in alone}}
        return [self.layer(name, names) for name, names in named.items()]

    def layer(self, name: str, nodes: Iterable[str]) -> LayerWork:
        """What some nodes do together; tensors that stay among them move no bytes.

        Args:
            name: of the first of them that matters, and of the whole.
            nodes: names of the file's nodes; those that do no work count nothing.
        """
        members = [self._working[one] for one in nodes if one in self._working]
        made = {output for node in members for output in node.outputs}
        read = {self._origin(tensor) for node in members for tensor in node.inputs if tensor}
        kept = {
            output
            for output in made
            if output in self._results or self._readers(output) - {node.name for node in members}
        }
        lead = next((node for node in members if node.name == name), None)
        lead = max(members, key=lambda node: self._macs[node.name], default=lead)
        return LayerWork(
            layer=name,
            op=lead.op if lead else "",
            nodes=tuple(node.name for node in members),
            module=lead.module if lead else "",
            macs=sum(self._macs[node.name] for node in members),
            bytes=sum(self._size(t) for t in read - made)
            + sum(self._size(self._quantised.get(t, t)) for t in kept),
            precision=self._precision(lead) if lead else "fp32",
        )

    def _moves_numbers(self, node: Node) -> bool:
        """Whether it writes anything but indices and shapes."""
        unknown = [output for output in node.outputs if output not in self._tensors]
        if unknown:
            raise ExportError(f"the shape of tensor {unknown[0]} ({node.op}) cannot be told")
        return any(self._tensors[output][0] in _PRECISIONS for output in node.outputs)

    def _origin(self, tensor: str) -> str:
        """What is read for a tensor: the 8 bits that a DequantizeLinear would widen."""
        return self._behind.get(tensor, tensor)

    def _readers(self, tensor: str) -> set[str]:
        return {node.name for node in self._source.nodes if tensor in node.inputs}

    def _size(self, tensor: str) -> int:
        kind, lengths = self._tensors.get(tensor, (0, ()))
        return math.prod(lengths) * _BYTES[_PRECISIONS[kind]] if kind in _PRECISIONS else 0

    def _precision(self, node: Node) -> str:
        tensor = self._origin(node.inputs[0])
        return _PRECISIONS.get(self._tensors.get(tensor, (TensorProto.FLOAT, ()))[0], "fp32")

    def _lengths(self, tensor: str) -> tuple[int, ...]:
        return self._tensors[tensor][1]

    def _node_macs(self, node: Node, proto: onnx.NodeProto) -> int:
        if node.op in ("Conv", "ConvInteger", "QLinearConv"):
            weight = self._lengths(node.inputs[3 if node.op == "QLinearConv" else 1])
            return math.prod(self._lengths(node.outputs[0])) * math.prod(weight[1:])
        if node.op == "ConvTranspose":
            weight = self._lengths(node.inputs[1])
            return math.prod(self._lengths(node.inputs[0])) * math.prod(weight[1:])
        if node.op in ("MatMul", "MatMulInteger", "QLinearMatMul"):
            return math.prod(self._lengths(node.outputs[0])) * self._lengths(node.inputs[0])[-1]
        if node.op == "Gemm":
            turned = next((a.i for a in proto.attribute if a.name == "transA"), 0)
            inner = self._lengths(node.inputs[0])[0 if turned else 1]
            return math.prod(self._lengths(node.outputs[0])) * inner
        return 0


def _with_shapes(model: onnx.ModelProto, shape: Sequence[int], path: Path | str) -> onnx.ModelProto:
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != len(shape):
        raise ExportError(f"{path} does not take one image [N, C, H, W]; another file is needed")
    for axis, length in zip(inputs[0].type.tensor_type.shape.dim, shape, strict=True):
        if axis.HasField("dim_value") and axis.dim_value != length:
            raise ExportError(
                f"{path} takes an input of another size than {list(shape)}; leave out --tile"
            )
        axis.dim_value = int(length)
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    try:
        return shape_inference.infer_shapes(model, data_prop=True)
    except (shape_inference.InferenceError, ValueError) as error:
        raise ExportError(f"the shapes of {path} cannot be told: {one_line(error)}") from error


def _tensors(model: onnx.ModelProto) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Type and lengths of every tensor whose shape is known."""
    found: dict[str, tuple[int, tuple[int, ...]]] = {}
    graph = model.graph
    values: list[Any] = [*graph.input, *graph.value_info, *graph.output]
    for value in values:
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            found[value.name] = kind.elem_type, tuple(axis.dim_value for axis in kind.shape.dim)
    found |= {one.name: (one.data_type, tuple(one.dims)) for one in graph.initializer}
    unknown = next((name for name, (_, lengths) in found.items() if 0 in lengths), None)
    if unknown is not None:
        raise ExportError(
            f"the shape of tensor {unknown} depends on the data; export the network for one size"
        )
    return found
