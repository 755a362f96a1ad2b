"""The same graph with other weights: cheaper than exporting a network again.

Tracing a network takes seconds; two networks that differ in the width of one inner layer alone,
or in the groups of a convolution, share their graph. So the second is the first one's file with
other initializers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def refill(
    source: Path,
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    path: Path,
    groups: Mapping[str, int] | None = None,
) -> bool:
    """Write ``source`` to ``path`` with the weights that changed replaced.

    Args:
        source: file that was exported from a network with the weights ``before``.
        before: state dict of that network.
        after: state dict of a network of the same structure; shapes of weights may differ.
        path: file to write.
        groups: of the convolutions whose groups changed, by the name of their weight.

    Returns:
        False, with nothing written, when a changed weight does not stand in the graph under its
        own name and with its own values (a normalisation was folded into it, say), or no
        convolution takes a weight of ``groups``: then the network has to be exported.
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
    if any(
        not np.array_equal(numpy_helper.to_array(slots[name]), before[name]) for name in changed
    ):
        return False
    if not _regroup(model.graph, groups or {}):
        return False
    for name, value in changed.items():
        slots[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))
    del model.graph.value_info[:]  # holds the shapes of the source
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    temporary.write_bytes(model.SerializeToString(deterministic=True))
    temporary.replace(path)
    return True


def _regroup(graph: onnx.GraphProto, groups: Mapping[str, int]) -> bool:
    """Set the groups of the convolutions with these weights; False when one has none."""
    missing = set(groups)
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose") and node.input[1] in groups:
            kept = [entry for entry in node.attribute if entry.name != "group"]
            group = onnx.helper.make_attribute("group", groups[node.input[1]])
            del node.attribute[:]
            node.attribute.extend([*kept, group])
            missing.discard(node.input[1])
    return not missing
