"""From a file that takes any size to one that takes a single one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx

from edgesr_export.errors import ExportError
from edgesr_export.sizes import input_shape
from edgesr_export.tracing import note, noted


def at_one_size(model: onnx.ModelProto, size: tuple[int, int], source: Path) -> onnx.ModelProto:
    """The same network for images of one size; what it computes of the size is known then.

    Args:
        model: network of one image [N, C, H, W] to one image.
        size: height and width of the input; the batch stays as it is.
        source: its file.

    Raises:
        ExportError: the network has another size, or does not take one image.
    """
    taken = input_shape(source)[2:]
    result = onnx.ModelProto()
    result.CopyFrom(model)
    stored = {tensor.name for tensor in result.graph.initializer}
    (image,) = (value for value in result.graph.input if value.name not in stored)
    if any(fixed not in (None, asked) for fixed, asked in zip(taken, size, strict=True)):
        fixed = " x ".join(str(length or "any") for length in taken)
        raise ExportError(
            f"{source} takes {fixed} pixels and cannot take {size[0]} x {size[1]}; export the"
            " network itself again, at that size"
        )
    for axis, length in zip(image.type.tensor_type.shape.dim[2:], size, strict=True):
        axis.dim_value = length
    for axis in result.graph.output[0].type.tensor_type.shape.dim[2:]:
        axis.Clear()
    del result.graph.value_info[:]
    result = onnx.shape_inference.infer_shapes(result, data_prop=True)
    if (found := noted(result)) is not None:
        note(result, replace(found, free=tuple(axis for axis in found.free if axis == "batch")))
    return result
