"""What a conversion notes in the metadata of an ONNX file: JSON, which anyone may have changed."""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec
import onnx

from edgesr_export.errors import ExportError, one_line

T = TypeVar("T")


def read_record(model: onnx.ModelProto, key: str, kind: type[T]) -> T | None:
    """What the metadata have under a key; None where they have nothing.

    Raises:
        ExportError: it is no JSON, or none of that kind.
    """
    text = next((entry.value for entry in model.metadata_props if entry.key == key), None)
    if text is None:
        return None
    try:
        return msgspec.convert(json.loads(text), kind)
    except (ValueError, RecursionError) as error:  # msgspec's own are among them
        raise ExportError(
            f"the file's record {key!r} is damaged ({one_line(error, 80)}); make the file again"
        ) from error
