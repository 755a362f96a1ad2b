"""Exact rewrites of an ONNX graph: the same function up to rounding, in fewer or faster operators.

One file a pattern, each with a drawing of it. Order matters: the shuffle that an enlargement leaves
behind is merged with the network's own, and that sum is what the slabs are cut from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript.rewriter import RewriteRuleClassBase, RewriteRuleSet

from edgesr_export.profile.source import SCOPES
from edgesr_export.rewrite.batchnorm import BatchNormIntoConv
from edgesr_export.rewrite.bicubic import BicubicByConv
from edgesr_export.rewrite.bilinear import BilinearByConv
from edgesr_export.rewrite.layernorm import LayerNormAffineIntoConv
from edgesr_export.rewrite.nearest import NearestByChannels
from edgesr_export.rewrite.scale import ScaleIntoConv
from edgesr_export.rewrite.shuffle import SharedShuffle

RULES = (
    BicubicByConv,
    BilinearByConv,
    NearestByChannels,
    SharedShuffle,
    BatchNormIntoConv,
    ScaleIntoConv,
    LayerNormAffineIntoConv,
)
"""Good on every runtime; what only pays on one is said by its target."""

FIRST_OPSET_OF_TARGETS = 18
"""They use Shape with a range (15) and ReduceMean with axes as an input (18)."""


def rewrite(
    model: onnx.ModelProto, special: Sequence[type[RewriteRuleClassBase]] = ()
) -> tuple[onnx.ModelProto, list[str]]:
    """Apply every rule until none fits.

    The rules ask for shapes; where the file leaves them out, as those of other exporters often do,
    they are inferred.

    Args:
        model: left untouched.
        special: rules that follow: those of a target, which are faster there alone; from
            :data:`FIRST_OPSET_OF_TARGETS` on.

    Returns:
        The new model, and one sentence for each kind of rewrite done.
    """
    graph = ir.from_proto(_with_shapes(model))
    scopes = {(node.op_type, node.name): node.metadata_props.get(SCOPES) for node in graph.graph}
    done: list[str] = []
    opset = graph.opset_imports.get("", 0)
    rules: list[Any] = [*RULES, *(special if opset >= FIRST_OPSET_OF_TARGETS else ())]
    for rule in rules:
        count = RewriteRuleSet([rule.rule()], commute=True).apply_to_model(graph)
        if count:
            times = "" if count == 1 else f" ({count} times)"
            done.append(f"{rule.description}{times}")
    RemoveUnusedNodesPass()(graph)
    for node in graph.graph:  # the rewriter gives all that it writes the module of one of them
        if scope := scopes.get((node.op_type, node.name)):
            node.metadata_props[SCOPES] = scope
    return ir.to_proto(graph), done


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError):  # ValueError: larger than 2 GB
        return model
