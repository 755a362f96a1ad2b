"""From a float32 ONNX file to one of typed float16: weights and activations, casts where needed.

::

    x (f32) -- Conv -- LayerNormalization -- Conv -- y (f32)
    =>
    x (f32) -- Cast(f16) -- Conv -- Cast(f32) -- LayerNormalization -- Cast(f16) -- Conv
            -- Cast(f32) -- y (f32)

A typed file is what strongly typed TensorRT (10.x, 11.x, RTX) wants: it says the type of every
tensor, so that no builder chooses one. What would lose more than rounding stays float32 and is
listed with its reason, in the result and in the file (:func:`kept_in_float32`):

- sums over many values (means over pixels, norms, softmax): partial sums outgrow 11 bits of
  significand, and 65504, the largest float16. TensorRT fuses the casts into these kernels; the
  tensors that go through memory stay float16;
- arithmetic on sizes that is done in floating point, since float16 counts to 2048 only;
- constants that float16 cannot hold: beyond 65504, or wholly below 6.1e-5, its smallest normal.

Measured against others (2026-11-28, the shipped student, LR 64 x 64, ONNX Runtime, CPU): float16
files of onnxconverter-common 1.16, of ONNX Runtime's own converter and of ModelOpt 0.47 (AutoCast)
differ from float32 as this one does (at most 4.9e-4, 76.7 dB). But the first two put every sum into
half, clamp constants, write files that ONNX Runtime refuses where a network computes with sizes or
carries Q/DQ pairs before operator set 19, and cannot give input and output types of their own: 9 of
the 24 tests of this module fail on them. ModelOpt needs six further packages, among them one that
asks a GPU driver. So this one is our own, on onnx-ir.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import (
    InlinePass,
    LiftConstantsToInitializersPass,
    RemoveUnusedNodesPass,
)

from edgesr_export.errors import ExportError, one_line
from edgesr_export.model_file import load_model, read_graph, write_model
from edgesr_export.records import read_record

SINGLE, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
TYPES = {"float32": SINGLE, "float16": HALF}
SUFFIXES = {SINGLE: "single", HALF: "half"}
LARGEST = float(np.finfo(np.float16).max)
SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)

SUMS = {
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2"), "sum"),
    **dict.fromkeys(("ReduceLogSum", "ReduceLogSumExp", "CumSum"), "sum"),
    **dict.fromkeys(("GlobalAveragePool", "GlobalLpPool"), "mean over pixels"),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization"), "mean and variance"),
    **dict.fromkeys(("GroupNormalization", "LpNormalization", "RMSNormalization"), "norm"),
    **dict.fromkeys(("Softmax", "LogSoftmax"), "sum of exponentials"),
}
"""Operators that add many values up, and what the sum is."""

ALWAYS_SINGLE = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs, by index, that are no image values: the standard (or every runtime) wants float32."""

FIRST_OPSET_OF_HALF_QUANTISATION = 19
_KEY = "kept_in_float32"


@dataclass(frozen=True)
class HalfPrecision:
    """What :func:`to_fp16` wrote.

    Attributes:
        path: the file.
        kept: reason, by name, for every node left in float32.
        halved: number of nodes that compute in float16.
        casts: number of casts that were added.
        rounding: largest relative error of a weight whose float16 is normal (at most 2^-11).
        flushed: share of the non-zero weights below the smallest normal float16, which lose
            relative precision or become zero.
    """

    path: Path
    kept: dict[str, str]
    halved: int
    casts: int
    rounding: float
    flushed: float


def to_fp16(
    source: Path | str,
    path: Path | str,
    *,
    input_type: str = "float32",
    output_type: str = "float32",
    keep: Collection[str] = (),
) -> HalfPrecision:
    """Write the network of ``source`` in float16 to ``path``.

    Args:
        source: ONNX file of float32; explicit Q/DQ pairs may stand in it.
        path: file to write; it appears only when complete and checked.
        input_type: "float32" or "float16", of every floating-point input of the graph.
        output_type: likewise of every output.
        keep: names of nodes, or of operators, to leave in float32 beyond those that must be.

    Raises:
        ExportError: an unknown type, a name in ``keep`` that the file does not have, control flow
            in the graph, or a file that cannot be read or written.
    """
    for option, given in (("input_type", input_type), ("output_type", output_type)):
        if given not in TYPES:
            raise ExportError(f"{option} is {' or '.join(TYPES)}, got {given!r}")
    model = _prepared(Path(source))
    graph = model.graph
    names = {node.name for node in graph} | {node.op_type for node in graph}
    unknown = sorted(set(keep) - names)
    if unknown:
        raise ExportError(f"{source} has no node or operator {', '.join(unknown)} to keep")
    opset = model.opset_imports.get("", 0)
    typing = _Typing(graph)
    for value in graph.inputs:
        if value.dtype == SINGLE:
            value.dtype = TYPES[input_type]
    kept: dict[str, str] = {}
    halved = 0
    for node in list(graph):
        if not typing.concerns(node):
            continue
        reason = typing.counts(node) or _reason_to_keep(node, keep, opset)
        typing.set(node, SINGLE if reason else HALF)
        if reason:
            kept[str(node.name)] = reason
        else:
            halved += 1
    if not halved:
        raise ExportError(f"{source} has no float32 layer to convert; give the float32 file")
    typing.set_outputs(TYPES[output_type])
    RemoveUnusedNodesPass()(model)
    proto = ir.to_proto(model)
    remember_kept(proto, kept)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{source} in float16 is no valid ONNX: {one_line(error)}") from error
    write_model(proto, Path(path))
    return HalfPrecision(
        Path(path), kept, halved, typing.casts, typing.rounding, typing.flushed_share()
    )


def kept_in_float32(path: Path | str) -> dict[str, str]:
    """Reason, by name, for every node that :func:`to_fp16` left in float32 in the file."""
    return kept_nodes(read_graph(Path(path)))


def kept_nodes(model: onnx.ModelProto) -> dict[str, str]:
    """The same of a model in memory; empty where the file was made otherwise."""
    return read_record(model, _KEY, dict[str, str]) or {}


class _Typing:
    """Gives types to nodes, one after another in order, and casts where neighbours differ."""

    def __init__(self, graph: ir.Graph) -> None:
        self.casts = 0
        self.rounding = 0.0
        self._graph = graph
        values = [*graph.inputs, *graph.initializers.values()]
        values += [value for node in graph for value in node.outputs]
        self._single = {value for value in values if value.dtype == SINGLE}
        self._names = {value.name for value in values}
        self._counts: set[ir.Value] = set()
        self._cast_of: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self._weights = self._flushed = 0

    def concerns(self, node: ir.Node) -> bool:
        """Whether a float32 tensor enters or leaves the node."""
        return any(value in self._single for value in (*node.inputs, *node.outputs))

    def counts(self, node: ir.Node) -> str:
        """Why the node is arithmetic on sizes; empty if it is not."""
        if any(value.shape is None or value.shape.rank() > 1 for value in node.outputs):
            return ""  # sizes are scalars or lists of them
        entering = [value for value in node.inputs if value is not None and value in self._single]
        computed = [value for value in entering if not value.is_initializer()]
        from_integers = node.op_type in ("Cast", "Range") and not computed
        if from_integers or (computed and self._counts.issuperset(computed)):
            self._counts.update(node.outputs)
            return "arithmetic on sizes"
        return ""

    def set(self, node: ir.Node, dtype: ir.DataType) -> None:
        """Make the node compute in ``dtype``."""
        single = ALWAYS_SINGLE.get(node.op_type, ())
        for index, value in enumerate(node.inputs):
            if value is not None and value in self._single:
                wanted = SINGLE if index in single else dtype
                node.replace_input_with(index, self._cast(value, wanted))
        for value in node.outputs:
            if value in self._single:
                value.dtype = dtype
        if dtype == HALF:
            _set_attributes(node)

    def set_outputs(self, dtype: ir.DataType) -> None:
        """Cast the floating-point outputs of the graph, which keep their names."""
        for index, value in enumerate(self._graph.outputs):
            if value not in self._single or value.dtype == dtype:
                continue
            if value.producer() is None:
                raise ExportError(f"output {value.name} is an input passed on; remove it first")
            cast = self._cast(value, dtype)
            name, value.name = value.name, self._free_name(f"{value.name}.computed")
            cast.name = name
            self._graph.outputs[index] = cast

    def flushed_share(self) -> float:
        return self._flushed / max(1, self._weights)

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        if value.dtype == dtype:
            return value
        key = (value, dtype)
        if key not in self._cast_of:
            make = self._half_weight if value.is_initializer() else self._cast_node
            self._cast_of[key] = make(value, dtype)
        return self._cast_of[key]

    def _half_weight(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        assert value.const_value is not None  # it is an initializer
        exact = value.const_value.numpy()
        half = exact.astype(np.float16)
        size = np.abs(exact)
        normal = size >= SMALLEST_NORMAL
        error = np.abs(half[normal].astype(np.float64) - exact[normal]) / size[normal]
        self.rounding = max(self.rounding, float(error.max(initial=0.0)))
        self._weights += int(np.count_nonzero(exact))
        self._flushed += int(np.count_nonzero(exact) - np.count_nonzero(normal))
        name = self._free_name(f"{value.name}.{SUFFIXES[dtype]}")
        weight = ir.Value(name=name, shape=value.shape, type=ir.TensorType(dtype))
        weight.const_value = ir.tensor(half, name=name)
        self._graph.register_initializer(weight)
        return weight

    def _cast_node(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        name = self._free_name(f"{value.name}.{SUFFIXES[dtype]}")
        node = ir.node("Cast", [value], {"to": dtype}, name=f"{name}.cast")
        cast = node.outputs[0]
        cast.name, cast.shape, cast.dtype = name, value.shape, dtype
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph[0], node)
        else:
            self._graph.insert_after(producer, node)
        self.casts += 1
        return cast

    def _free_name(self, name: str) -> str:
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


def _set_attributes(node: ir.Node) -> None:
    """Types that stand in attributes: of a Cast, of random numbers, of a filled tensor."""
    for name in ("to", "dtype"):
        if node.attributes.get_int(name, None) == SINGLE:
            node.attributes[name] = ir.AttrInt64(name, HALF)
    if node.op_type == "ConstantOfShape":
        value = node.attributes.get_tensor("value", None)
        number = np.zeros(1, np.float16) if value is None else value.numpy().astype(np.float16)
        node.attributes["value"] = ir.AttrTensor("value", ir.tensor(number))


def _prepared(source: Path) -> ir.Model:
    """The model with functions inlined, constants as initializers, a name and types everywhere."""
    plain = ir.from_proto(load_model(source))
    InlinePass()(plain)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(plain)
    try:
        typed = onnx.shape_inference.infer_shapes(ir.to_proto(plain), strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise ExportError(f"{source} is no valid ONNX: {one_line(error)}") from error
    model = ir.from_proto(typed)
    for index, node in enumerate(model.graph):
        kinds = {attribute.type for attribute in node.attributes.values()}
        if kinds & {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}:
            raise ExportError(
                f"{source} has control flow ({node.op_type} {node.name}), which cannot be typed; "
                "export the network without branches or loops"
            )
        node.name = node.name or f"{node.op_type}_{index}"
        for value in node.outputs:
            if value.dtype is None and value.name and (value.uses() or value.is_graph_output()):
                raise ExportError(
                    f"the type of {value.name} in {source} cannot be inferred ({node.op_type} "
                    f"{node.name}); replace the operator by standard ones"
                )
    return model


def _reason_to_keep(node: ir.Node, keep: Collection[str], opset: int) -> str:
    """Why the node computes in float32; empty where float16 will do."""
    if node.name in keep or node.op_type in keep:
        return "asked for"
    if node.domain:
        return f"operator of {node.domain}"
    if node.op_type in SUMS:
        return f"{SUMS[node.op_type]} over many values"
    quantisation = node.op_type in ("QuantizeLinear", "DequantizeLinear")
    if quantisation and opset < FIRST_OPSET_OF_HALF_QUANTISATION:
        return f"opset {opset} quantises float32 alone"
    for index, value in enumerate(node.inputs):
        tensor = value.const_value if value is not None and value.is_initializer() else None
        if value is None or tensor is None or tensor.dtype not in (SINGLE, HALF):
            continue
        if index in ALWAYS_SINGLE.get(node.op_type, ()):
            continue
        size = np.abs(tensor.numpy().astype(np.float64))
        size = size[size > 0]
        if size.size and size.max() > LARGEST:
            return f"{value.name} holds {size.max():.3g}, beyond float16"
        least = size.min(initial=np.inf) if quantisation else size.max(initial=0.0)
        if size.size and least < SMALLEST_NORMAL:
            return f"{value.name} holds {least:.3g}, below the normal float16"
    return ""


def remember_kept(model: onnx.ModelProto, kept: dict[str, str]) -> None:
    """Note in the file what :func:`kept_nodes` shall answer; in place."""
    entries = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**entries, _KEY: json.dumps(kept)})
