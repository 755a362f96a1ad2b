"""Q/DQ pairs around chosen layers.

::

    TensorRT            x -- Q -- DQ --+
                        w (int8) - DQ -+-- Conv -- y

    ONNX Runtime, CPU   x -- Q -- DQ --+
                        w (int8) - DQ -+-- Conv [-- Relu] -- Q -- DQ -- y

A tensor has one pair, whoever reads it. Behind a layer, everything that follows reads the pair:
ONNX Runtime makes one int8 operator of DQ, Conv and Q only where nothing reads the float between.
Biases stay float32: TensorRT 8 takes no int32 pair, and ONNX Runtime rounds them itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np
import onnx
from onnx import numpy_helper

from edgesr_export.int8.calibrate import Calibration
from edgesr_export.int8.scheme import QuantScheme


def outlet(model: onnx.ModelProto, name: str) -> str:
    """Tensor behind which the pair of a layer's output belongs: its own, or that of its Relu."""
    graph = model.graph
    readers = Counter(tensor for node in graph.node for tensor in node.input)
    outputs = {value.name for value in graph.output}
    tensor = next(node.output[0] for node in graph.node if node.name == name)
    follower = next((node for node in graph.node if tensor in node.input), None)
    alone = readers[tensor] == 1 and tensor not in outputs
    if alone and follower is not None and follower.op_type == "Relu":
        return str(follower.output[0])
    return str(tensor)


def place(
    model: onnx.ModelProto, calibration: Calibration, chosen: Collection[str], scheme: QuantScheme
) -> onnx.ModelProto:
    """A copy of ``model`` with the layers named in ``chosen`` quantised."""
    placed = onnx.ModelProto()
    placed.CopyFrom(model)
    placing = _Placing(placed, calibration, scheme)
    outlets = {outlet(model, name) for name in chosen} if scheme.outputs else set()
    outlets -= {value.name for value in model.graph.output}  # nothing reads those
    nodes = list(placed.graph.node)
    for node in nodes:
        placing.read_pairs(node)
        if node.name in chosen:
            placing.quantise(node)
        placing.append(node)
        for tensor in outlets.intersection(node.output):
            placing.replaced[tensor] = placing.pair(tensor)
    del placed.graph.node[:]
    placed.graph.node.extend(placing.nodes)
    placing.drop_unused_weights()
    return placed


class _Placing:
    """The growing list of nodes."""

    def __init__(
        self, model: onnx.ModelProto, calibration: Calibration, scheme: QuantScheme
    ) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.replaced: dict[str, str] = {}
        self._graph = model.graph
        self._calibration = calibration
        self._scheme = scheme
        self._pairs: dict[str, str] = {}

    def append(self, node: onnx.NodeProto) -> None:
        self.nodes.append(node)

    def read_pairs(self, node: onnx.NodeProto) -> None:
        """Let the node read the pair behind a layer in the place of the layer's output."""
        for index, tensor in enumerate(node.input):
            node.input[index] = self.replaced.get(tensor, tensor)

    def pair(self, tensor: str) -> str:
        """Output of the pair of a tensor, which is made at the first call."""
        if tensor not in self._pairs:
            scale, zero = self._scheme.affine(self._calibration.ranges[tensor])
            entries = [self._store(scale, f"{tensor}.scale"), self._store(zero, f"{tensor}.zero")]
            self._operator("QuantizeLinear", [tensor, *entries], f"{tensor}.int8")
            back = f"{tensor}.float"
            self._operator("DequantizeLinear", [f"{tensor}.int8", *entries], back)
            self._pairs[tensor] = back
        return self._pairs[tensor]

    def quantise(self, node: onnx.NodeProto) -> None:
        """Make the layer read pairs, and its corrected bias."""
        pairs = set(self._pairs.values())
        if node.input[0] not in pairs:
            node.input[0] = self.pair(node.input[0])
        node.input[1] = self._weight(node.name)
        bias = self._calibration.biases.get(node.name)
        if bias is not None:
            name = self._store(bias, f"{node.name}.bias")
            if len(node.input) > 2:
                node.input[2] = name
            else:
                node.input.append(name)

    def drop_unused_weights(self) -> None:
        read = {tensor for node in self.nodes for tensor in node.input}
        read |= {value.name for value in self._graph.output}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _weight(self, layer: str) -> str:
        weight = self._calibration.weights[layer]
        entries = [
            self._store(weight.values, f"{layer}.weight.int8"),
            self._store(weight.scale, f"{layer}.weight.scale"),
            self._store(np.zeros(len(weight.scale), np.int8), f"{layer}.weight.zero"),
        ]
        node = self._operator("DequantizeLinear", entries, f"{layer}.weight.float")
        node.attribute.append(onnx.helper.make_attribute("axis", weight.axis))
        return f"{layer}.weight.float"

    def _store(self, array: np.ndarray, name: str) -> str:
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _operator(self, operator: str, inputs: list[str], output: str) -> onnx.NodeProto:
        name = f"{operator}.{output}"
        self.append(onnx.helper.make_node(operator, inputs, [output], name=name))
        return self.nodes[-1]
