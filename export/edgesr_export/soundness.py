"""Is the graph of a file one that can be worked on: with an end, without circles, of real lengths?

Runtimes and builders read ONNX in C++. Some such graphs they never finish, some they take as what
was not meant, and of others they write lines of their own on stderr. Only what no network has is
refused here: any operator may stand in a graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto

from edgesr_export.errors import ExportError

MOST_NODES = 100_000
"""With functions written out."""

DEEPEST = 16
"""Graphs within nodes of graphs."""

MOST_ROUNDS = 1 << 16
"""Of loops, all within each other."""

_TYPES = frozenset(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}


def check_sound(model: onnx.ModelProto, where: str) -> None:
    """Refuse a graph that nobody can work on.

    Args:
        model: weights that stand beside it may be missing.
        where: it stands, for messages.

    Raises:
        ExportError: a length below 0, an unknown type, a tensor that two nodes write, a circle of
            nodes or of functions, a loop whose rounds are not stored in the file or too many, or
            too many nodes or graphs within each other.
    """
    _check_functions(model, where)
    _check_graph(model.graph, where, depth=1, rounds=1)


def _check_graph(graph: onnx.GraphProto, where: str, depth: int, rounds: float) -> None:
    if depth > DEEPEST:
        raise ExportError(
            f"{where} has graphs within graphs, more than {DEEPEST} deep; export the network again,"
            " without conditions"
        )
    _check_lengths(graph, where)
    _check_order(graph, where)
    for node in graph.node:
        inner = [*_graphs(node)]
        more = _rounds(node, graph, where) if node.op_type == "Loop" and not node.domain else 1
        if rounds * more > MOST_ROUNDS:
            raise ExportError(
                f"{where} has a loop ({_name(node)}) of {rounds * more:.0e} rounds; "
                f"{MOST_ROUNDS} are the most: unroll it, or export the network again"
            )
        for one in inner:
            _check_graph(one, where, depth + 1, rounds * more)


def _check_lengths(graph: onnx.GraphProto, where: str) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        lengths = [axis.dim_value for axis in kind.shape.dim]
        if min(lengths, default=0) < 0:
            raise ExportError(
                f"{where} says that {value.name} has shape {lengths}; a length is no negative "
                "number: give the axis a name where it is free"
            )
        if kind.elem_type and kind.elem_type not in _TYPES:
            raise ExportError(
                f"{where} says that {value.name} is of type {kind.elem_type}, which ONNX does not "
                "have; export the network again"
            )
    for tensor in graph.initializer:
        if min(tensor.dims, default=0) < 0 or tensor.data_type not in _TYPES:
            raise ExportError(
                f"{where} has weights {tensor.name} of shape {[*tensor.dims]} and type "
                f"{tensor.data_type}, which cannot be; export the network again"
            )


def _check_order(graph: onnx.GraphProto, where: str) -> None:
    """Refuse tensors of two origins, and circles; nodes may stand in any order."""
    writer: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in writer:
                raise ExportError(
                    f"{where} has two nodes that write {name} ({_name(node)} is one); export the "
                    "network again"
                )
            writer[name] = index
    needs = [
        {writer[name] for name in _read(node) if name in writer} for node in graph.node
    ]  # by number, so that nodes without a name serve
    readers: dict[int, list[int]] = {}
    for index, before in enumerate(needs):
        for one in before:
            readers.setdefault(one, []).append(index)
    left = [len(before) for before in needs]
    ready = [index for index, count in enumerate(left) if not count]
    done = 0
    while ready:
        done += 1
        for reader in readers.get(ready.pop(), ()):
            left[reader] -= 1
            if not left[reader]:
                ready.append(reader)
    if done < len(left):
        node = next(node for node, count in zip(graph.node, left, strict=True) if count)
        raise ExportError(
            f"{where} has nodes in a circle, such as {_name(node)}, which no runtime can compute; "
            "export the network again"
        )


def _check_functions(model: onnx.ModelProto, where: str) -> None:
    bodies = {(one.domain, one.name): one for one in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Iterator[onnx.NodeProto], within: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = node.domain, node.op_type
            if key in within or len(within) > DEEPEST:
                raise ExportError(
                    f"{where} has functions that call each other, such as {node.op_type}, without "
                    f"end or more than {DEEPEST} deep; export the network again"
                )
            if key in bodies and key not in sizes:
                sizes[key] = size(_nodes(bodies[key]), (*within, key))
            total += sizes.get(key, 1)
        return total

    if (total := size(_nodes(model.graph), ())) > MOST_NODES:
        raise ExportError(
            f"{where} has {total:.1e} nodes and {MOST_NODES} are the most; export the network for "
            "smaller images, or in parts"
        )


def _rounds(node: onnx.NodeProto, graph: onnx.GraphProto, where: str) -> float:
    """How often a loop goes round."""
    name = node.input[0] if node.input else ""
    stored = next((one for one in graph.initializer if one.name == name), None)
    if stored is None:
        constants = (one for one in graph.node if one.op_type == "Constant" and name in one.output)
        found = next(constants, None)
        stored = next((a.t for a in found.attribute if a.name == "value"), None) if found else None
    try:
        values = None if stored is None else onnx.numpy_helper.to_array(stored)
    except (ValueError, TypeError):
        values = None
    if values is None or values.size != 1 or not np.issubdtype(values.dtype, np.number):
        raise ExportError(
            f"{where} has a loop ({_name(node)}) that may never end: the number of its rounds is "
            "not stored in the file; unroll it, or export the network again"
        )
    return max(1.0, float(values.item())) if math.isfinite(values.item()) else math.inf


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """Tensors that a node reads, those that graphs within it take from around it included."""
    yield from node.input
    for graph in _graphs(node):
        for inner in graph.node:
            yield from _read(inner)
        yield from (value.name for value in graph.output)


def _nodes(body: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    for node in body.node:
        yield node
        for graph in _graphs(node):
            yield from _nodes(graph)


def _graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _name(node: onnx.NodeProto) -> str:
    return " ".join((node.name or next(iter(node.output), "") or node.op_type).split())[:80]
