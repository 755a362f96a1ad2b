"""What a bundle has to know of an ONNX file: its external data, its input and its output.

Reads protobuf's wire format directly, so that neither onnx nor protobuf is needed. Numbers of
fields are those of ``onnx.proto`` (ModelProto, GraphProto, TensorProto ...), which never change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgesr_jetson.board.wire import fields, messages, text
from edgesr_jetson.errors import BundleError

_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTION = 7, 20, 25
_TRAINING_GRAPHS = (1, 2)
_FUNCTION_NODE = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = 1, 5, 11, 12, 15
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_SPARSE_TENSORS = (1, 2)
_TENSOR_NAME, _TENSOR_EXTERNAL = 8, 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE = 1, 2, 1, 2
_SHAPE_DIM, _DIM_VALUE = 1, 1

_MAX_DEPTH = 64


@dataclass(frozen=True)
class OnnxFile:
    """Facts of one ONNX file.

    Attributes:
        path: the file.
        external: files of weights beside it, relative to its folder, in the order of first use.
        inputs: shape of each input that is no initializer, by name; None where an axis is free.
        outputs: the same of each output.
    """

    path: Path
    external: tuple[str, ...]
    inputs: dict[str, tuple[int | None, ...]]
    outputs: dict[str, tuple[int | None, ...]]


def read_onnx(path: Path) -> OnnxFile:
    """Read ``path``, and make sure that all its weights are in its folder.

    Raises:
        BundleError: no such file, not ONNX, or external data that are missing or leave the folder.
    """
    try:
        content = memoryview(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}); name an ONNX file") from error
    try:
        graphs = [value for number, value in fields(content) if number == _MODEL_GRAPH]
        if len(graphs) != 1 or isinstance(graphs[0], int):
            raise ValueError("no graph")
        locations = dict.fromkeys(_external_of_model(content))
        initial = {text(t, _TENSOR_NAME) for t in messages(graphs[0], _GRAPH_INITIALIZER)}
        inputs = dict(_value(v) for v in messages(graphs[0], _GRAPH_INPUT))
        outputs = dict(_value(v) for v in messages(graphs[0], _GRAPH_OUTPUT))
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is not an ONNX file ({error}); export it again") from error
    for location in locations:
        _require_inside(path, location)
    return OnnxFile(
        path,
        tuple(locations),
        {name: shape for name, shape in inputs.items() if name not in initial},
        outputs,
    )


def _require_inside(path: Path, location: str) -> None:
    parts = PurePosixPath(location)
    folder = path.parent.resolve()
    spelled_inside = (
        location and "\\" not in location and not parts.is_absolute() and ".." not in parts.parts
    )
    if not spelled_inside or folder not in (folder / location).resolve().parents:
        raise BundleError(
            f"{path} keeps weights in {location!r}, outside its folder; save it again with the "
            "weights inside or beside it"
        )
    if not (folder / location).is_file():
        raise BundleError(
            f"{path} keeps weights in {location!r}, which is not there; copy that file, too"
        )


def _external_of_model(model: memoryview) -> Iterator[str]:
    for number, value in fields(model):
        if isinstance(value, int):
            continue
        if number == _MODEL_GRAPH:
            yield from _external_of_graph(value, 0)
        elif number == _MODEL_FUNCTION:
            for node in messages(value, _FUNCTION_NODE):
                yield from _external_of_node(node, 0)
        elif number == _MODEL_TRAINING:
            for graph in messages(value, *_TRAINING_GRAPHS):
                yield from _external_of_graph(graph, 0)


def _external_of_graph(graph: memoryview, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise ValueError("graphs are nested too deeply")
    for number, value in fields(graph):
        if isinstance(value, int):
            continue
        if number == _GRAPH_INITIALIZER:
            yield from _external_of_tensor(value)
        elif number == _GRAPH_SPARSE:
            yield from _external_of_sparse(value)
        elif number == _GRAPH_NODE:
            yield from _external_of_node(value, depth)


def _external_of_node(node: memoryview, depth: int) -> Iterator[str]:
    for attribute in messages(node, _NODE_ATTRIBUTE):
        for tensor in messages(attribute, *_ATTRIBUTE_TENSORS):
            yield from _external_of_tensor(tensor)
        for sparse in messages(attribute, *_ATTRIBUTE_SPARSE):
            yield from _external_of_sparse(sparse)
        for graph in messages(attribute, *_ATTRIBUTE_GRAPHS):
            yield from _external_of_graph(graph, depth + 1)


def _external_of_sparse(sparse: memoryview) -> Iterator[str]:
    for tensor in messages(sparse, *_SPARSE_TENSORS):
        yield from _external_of_tensor(tensor)


def _external_of_tensor(tensor: memoryview) -> Iterator[str]:
    for entry in messages(tensor, _TENSOR_EXTERNAL):
        if text(entry, _ENTRY_KEY) == "location":
            yield text(entry, _ENTRY_VALUE)


def _value(message: memoryview) -> tuple[str, tuple[int | None, ...]]:
    """Name and shape of a ValueInfoProto."""
    shape: list[int | None] = []
    for kind in messages(message, _VALUE_TYPE):
        for tensor in messages(kind, _TYPE_TENSOR):
            for lengths in messages(tensor, _TENSOR_SHAPE):
                for dim in messages(lengths, _SHAPE_DIM):
                    values = [v for n, v in fields(dim) if n == _DIM_VALUE and isinstance(v, int)]
                    shape.append(values[-1] if values else None)
    return text(message, _VALUE_NAME), tuple(shape)
