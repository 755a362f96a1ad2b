"""Read and write ONNX files that others made: whole, inside their folder, never half-written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from edgesr_export.errors import ExportError, one_line
from edgesr_export.soundness import check_sound

LARGEST_FILE = 2**31 - 1
"""Bytes that one protobuf message can hold."""

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)


def load_model(path: Path | str) -> onnx.ModelProto:
    """The model with all its weights in memory.

    Raises:
        ExportError: no such file, no ONNX network in it, weights beside it that are missing or
            lie outside its folder, weights that are not finite, or more than 2 GB.
    """
    path = Path(path)
    model = read_graph(path)
    outside = external_files(model, path)
    size = sum(file.stat().st_size for file in (path, *outside))
    if size > LARGEST_FILE:
        raise ExportError(
            f"{path} needs {size / 2**30:.1f} GB with its weights, and one model in memory holds "
            "2 GB; split the network or store it in half precision"
        )
    try:
        load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ExportError(f"weights of {path} cannot be read: {one_line(error)}") from error
    _require_finite(model, path)
    return model


def _require_finite(model: onnx.ModelProto, path: Path) -> None:
    """Refuse weights that are no numbers; a mask may hold -inf, and a single bound either.

    What a Where chooses is no weight: a native file's nodata may be NaN.
    """
    chosen = {name for node in model.graph.node if node.op_type == "Where" for name in node.input}
    for tensor in tensors(model.graph):
        if tensor.data_type not in _FLOATS or tensor.name in chosen:
            continue
        try:
            values = onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError) as error:
            raise ExportError(
                f"{path} is damaged: {tensor.name!r} is no array ({one_line(error)})"
            ) from error
        allowed = np.isfinite(values) | np.isneginf(values)
        if values.size == 1:
            allowed = ~np.isnan(values)
        if not allowed.all():
            raise ExportError(
                f"{path} holds values that are not finite, in {tensor.name!r}; use another file"
            )


def external_files(model: onnx.ModelProto, path: Path) -> list[Path]:
    """Files beside ``path`` that hold weights of its model, sorted.

    Raises:
        ExportError: one is missing or lies, links followed, outside the folder of ``path``.
    """
    folder = path.parent.resolve()
    files = set()
    for tensor in tensors(model.graph):
        if not uses_external_data(tensor):
            continue
        location = next((e.value for e in tensor.external_data if e.key == "location"), "")
        said = f"{path} takes the weights {tensor.name:.80} from {location!r:.80}"
        try:
            file = (folder / location).resolve()
            there = file.is_file()
        except (OSError, ValueError) as error:  # too long, a null byte, links in a circle
            raise ExportError(f"{said}, which is no name of a file; store them inside") from error
        if not location or not file.is_relative_to(folder):
            raise ExportError(
                f"{said}, which lies outside its folder; put them beside it or store them inside"
            )
        if not there:
            raise ExportError(f"{said}, which does not exist; copy it to {folder}")
        files.add(file)
    return sorted(files)


def model_files(path: Path | str) -> list[Path]:
    """An ONNX file and those beside it that hold weights of its model.

    Raises:
        ExportError: no such file, no ONNX network in it, or weights as :func:`external_files`
            refuses them.
    """
    path = Path(path)
    return [path, *external_files(read_graph(path), path)]


def file_hash(path: Path | str) -> str:
    """SHA-256, in hexadecimal, of an ONNX file and of the weights that stand beside it."""
    digest = hashlib.sha256()
    for file in model_files(path):
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def write_model(model: onnx.ModelProto, path: Path | str) -> None:
    """Write the model, weights inside; ``path`` appears only when complete.

    Raises:
        ExportError: more than 2 GB, or a folder or disk that cannot be written.
    """
    if model.ByteSize() > LARGEST_FILE:
        raise ExportError(
            f"{path} would hold {model.ByteSize() / 2**30:.1f} GB and one file holds 2 GB; "
            "split the network or store it in half precision"
        )
    write_bytes(model.SerializeToString(deterministic=True), path)


def write_bytes(content: bytes | memoryview, path: Path | str) -> None:
    """Write ``content``; ``path`` appears only when complete.

    Raises:
        ExportError: a folder or disk that cannot be written.
    """
    write_together({Path(path): content})


def write_together(contents: Mapping[Path, bytes | memoryview]) -> None:
    """Write files that belong together; none appears before all are complete.

    Raises:
        ExportError: a folder or disk that cannot be written.
    """
    temporaries = {
        path: path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}") for path in contents
    }
    path = Path()
    try:
        for path, content in contents.items():
            temporaries[path].write_bytes(content)
        for path, temporary in temporaries.items():
            temporary.replace(path)
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def read_graph(path: Path) -> onnx.ModelProto:
    """The model without weights that stand beside it.

    Raises:
        ExportError: no such file, no ONNX network in it, or one that
            :func:`edgesr_export.soundness.check_sound` refuses.
    """
    if not path.is_file():
        raise ExportError(f"{path} does not exist; name an .onnx file")
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise ExportError(f"{path} cannot be read as ONNX: {one_line(error)}") from error
    if not model.graph.node:
        raise ExportError(f"{path} holds no network; name an .onnx file that is complete")
    check_sound(model, str(path))
    return model


def tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Weights and other constants of a graph and of those within it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from tensors(inner)
