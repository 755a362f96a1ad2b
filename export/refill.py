"""The same graph with other weights: cheaper than exporting a network again.

Tracing a network takes seconds; two networks that differ in the width of one inner layer alone
share their graph. So the second is the first one's file with other initializers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def refill(
    source: Path, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], path: Path
) -> bool:
    """Write ``source`` to ``path`` with the weights that changed replaced.

    Args:
        source: file that was exported from a network with the weights ``before``.
        before: state dict of that network.
        after: state dict of a network of the same structure; shapes of weights may differ.
        path: file to write.

    Returns:
        False, with nothing written, when a changed weight is no initializer of the graph under
        its own name (folded into a neighbour, say): then the network has to be exported.
        What was written must still be compared with the network, as after any export.
    """
    changed = {
        name: value
        for name, value in after.items()
        if name not in before or not np.array_equal(before[name], value)
    }
    model = onnx.load(source)
    slots = {entry.name: entry for entry in model.graph.initializer}
    if before.keys() != after.keys() or not changed.keys() <= slots.keys():
        return False
    for name, value in changed.items():
        slots[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))
    del model.graph.value_info[:]  # holds the shapes of the source
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    temporary.write_bytes(model.SerializeToString(deterministic=True))
    temporary.replace(path)
    return True
