"""Wrap a network's graph so that it takes and gives native numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import onnx
from onnx import TensorProto

from edgesr_export.errors import ExportError, one_line
from edgesr_export.native.inlet import inlet
from edgesr_export.native.io import NativeIO
from edgesr_export.native.moves import Slab, slabs
from edgesr_export.native.nodes import TYPES, Nodes
from edgesr_export.native.outlet import MICROSOFT, Outlet
from edgesr_export.opset import opset_of

FIRST_OPSET = 13
"""The first whose sums and sizes take their axes as inputs."""

_KEY = "native"


def make_native(model: onnx.ModelProto, io: NativeIO, *, fused: bool = False) -> onnx.ModelProto:
    """The network with native input and output; both keep their names.

    Args:
        model: float32 [N, B, h, w] in [0, 1] to [N, B, r h, r w], of any precision inside; left
            untouched.
        io: what the native numbers mean.
        fused: for ONNX Runtime alone, which rounds, saturates and casts in one operator.

    Raises:
        ExportError: another kind of network, or one of other bands.
    """
    native = _typed(model)
    graph = native.graph
    source, result = _ends(native, io)
    answer, casts = _before_casts(graph, result.name)
    found = slabs(native, answer, io.bands, io.scale)

    new = Nodes(opset_of(model))
    normalised, mask = inlet(new, source.name, io)
    nodes = list(graph.node)
    for node in nodes:
        _rename(node, {source.name: normalised})
    fused = fused and not io.pairs(io.output_dtype) and all(slab.any_type for slab in found or ())
    outlet = Outlet(new, io, mask, fused)
    placed = new.take()
    if found is None:
        last = outlet.end(outlet.whole(result.name))
        placed += [*nodes, *new.take()]
    else:
        kept = [node for node in nodes if node.output[0] not in casts]
        placed += _with_slabs(kept, found, new, outlet)
        last = outlet.end(answer)
        placed += new.take()
    if last != result.name:
        for node in placed:
            _rename(node, {result.name: f"{result.name}.network", last: result.name})
    del graph.node[:]
    graph.node.extend(placed)
    graph.initializer.extend(new.constants)
    stale = {answer, *casts, *(name for slab in found or () for name in slab.moved)}
    _declare(native, io, stale)
    return native


def recorded_io(model: onnx.ModelProto) -> NativeIO | None:
    """What :func:`make_native` wrapped the network in; None where it was made otherwise."""
    entries = {entry.key: entry.value for entry in model.metadata_props}
    return NativeIO.from_json(entries[_KEY]) if _KEY in entries else None


def _with_slabs(
    nodes: Sequence[onnx.NodeProto], found: Sequence[Slab], new: Nodes, outlet: Outlet
) -> list[onnx.NodeProto]:
    """The nodes, with every slab made native before it is moved."""
    by_reader = {slab.moved[-1]: slab for slab in found}
    placed = []
    for node in nodes:
        if slab := by_reader.get(node.output[0]):
            node.input[0] = outlet.slab(slab)
            placed += new.take()
        placed.append(node)
    return placed


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with all types and shapes that can be inferred."""
    if recorded_io(model) is not None:
        raise ExportError("the network takes native numbers already; give the file it was made of")
    if opset_of(model) < FIRST_OPSET:
        raise ExportError(
            f"the network has opset {opset_of(model)} and native numbers need {FIRST_OPSET}; "
            "export it with a newer one"
        )
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ExportError(f"shapes of the network cannot be inferred: {one_line(error)}") from error


def _ends(model: onnx.ModelProto, io: NativeIO) -> tuple[onnx.ValueInfoProto, onnx.ValueInfoProto]:
    """The one input and the one output."""
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    outputs = list(model.graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        raise ExportError(
            f"the network has {len(inputs)} inputs and {len(outputs)} outputs; one image to one "
            "image is needed"
        )
    for value in (*inputs, *outputs):
        kind = value.type.tensor_type
        shape = [axis.dim_value or "?" for axis in kind.shape.dim]
        if kind.elem_type != TensorProto.FLOAT or len(shape) != 4:
            name = TensorProto.DataType.Name(kind.elem_type)
            raise ExportError(
                f"{value.name} of the network is {name} {shape}; float32 [N, C, H, W] is needed"
            )
        if shape[1] != io.bands and (value is inputs[0] or shape[1] != "?"):
            raise ExportError(
                f"{value.name} of the network has {shape[1]} bands and the numbers describe "
                f"{io.bands}; give one lower and upper for each band of the network"
            )
    return inputs[0], outputs[0]


def _before_casts(graph: onnx.GraphProto, output: str) -> tuple[str, set[str]]:
    """What the output was before the casts at its end, and what those gave."""
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(value.name for value in graph.output)
    producers = {name: node for node in graph.node for name in node.output}
    casts: set[str] = set()
    while (node := producers.get(output)) and node.op_type == "Cast" and uses[output] == 1:
        casts.add(output)
        output = node.input[0]
    return output, casts


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """In place, in branches and loops too."""
    for tensors in (node.input, node.output):
        for index, name in enumerate(tensors):
            tensors[index] = names.get(name, name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _rename(inner, names)


def _declare(model: onnx.ModelProto, io: NativeIO, stale: Collection[str]) -> None:
    """Types of input and output, the operators of others, and what the numbers mean; in place."""
    graph = model.graph
    kept = [value for value in graph.value_info if value.name not in stale]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    stored = {tensor.name for tensor in graph.initializer}
    (source,) = (value for value in graph.input if value.name not in stored)
    for value, dtype in ((source, io.input_dtype), (graph.output[0], io.output_dtype)):
        kind = value.type.tensor_type
        kind.elem_type = TYPES["uint8" if io.pairs(dtype) else dtype]
        if io.pairs(dtype):
            kind.shape.dim.add().dim_value = 2
    source.type.tensor_type.shape.dim[1].dim_value = io.sensor_bands
    domains = {entry.domain for entry in model.opset_import}
    if any(node.domain == MICROSOFT for node in graph.node) and MICROSOFT not in domains:
        model.opset_import.append(onnx.helper.make_opsetid(MICROSOFT, 1))
    entries = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**entries, _KEY: io.to_json()})
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"with native numbers it is no valid ONNX: {one_line(error)}") from error
