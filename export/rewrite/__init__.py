"""Exact rewrites of an ONNX graph: the same function up to rounding, in fewer or faster operators.

One file a pattern, each with a drawing of it. Order matters: the shuffle that the bicubic leaves
behind is merged with the network's own.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from export.rewrite.bicubic import BicubicByConv
from export.rewrite.shuffle import SharedShuffle

RULES = (BicubicByConv, SharedShuffle)


def rewrite(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """Apply every rule until none fits.

    Returns:
        The new model, the given one untouched, and one sentence for each kind of rewrite done.
    """
    graph = ir.from_proto(model)
    done = []
    for rule in RULES:
        count = rule.rule().apply_to_model(graph)
        if count:
            times = "" if count == 1 else f" ({count} times)"
            done.append(f"{rule.description}{times}")
    RemoveUnusedNodesPass()(graph)
    return ir.to_proto(graph), done
