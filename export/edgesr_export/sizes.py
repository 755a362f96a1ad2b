"""Which sizes a file takes, and images of such a size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgesr_export.errors import ExportError

if TYPE_CHECKING:
    import torch

Shape = tuple[int | None, ...]
"""Lengths [N, C, H, W] of an input; None where the file leaves the axis free."""

FREE: Shape = (None, None, None, None)


def input_shape(path: Path | str) -> Shape:
    """The shape [N, C, H, W] that the one input of an ONNX file takes.

    Raises:
        ExportError: no such file, or one of another number of inputs or axes.
    """
    from edgesr_export.model_file import read_graph

    graph = read_graph(Path(path)).graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
        raise ExportError(f"{path} does not take one image [N, C, H, W]; another file is needed")
    return tuple(axis.dim_value or None for axis in inputs[0].type.tensor_type.shape.dim)


def mirrored(length: int, wanted: int) -> np.ndarray:
    """Which of ``length`` pixels stand at ``wanted`` places, there and back again."""
    there_and_back = np.arange(wanted) % (2 * length)
    return np.minimum(there_and_back, 2 * length - 1 - there_and_back)


def fit(image: torch.Tensor, shape: Sequence[int | None]) -> torch.Tensor:
    """``image`` [N, C, H, W] with the batch, height and width that ``shape`` fixes.

    What is too long is cut at its end; what is too short goes on mirrored at its end, without a
    seam. An axis that ``shape`` leaves free stays as it is.
    """
    import torch

    for axis in (0, 2, 3):
        length, wanted = image.shape[axis], shape[axis]
        if wanted is not None and wanted != length:
            index = torch.from_numpy(mirrored(length, wanted)).to(image.device)
            image = image.index_select(axis, index)
    return image
