"""The mean of a concatenation, without the concatenation.

::

    a --+                                              a -- GlobalAveragePool --+
        +-- Concat(channels) -- ReduceMean(h, w) -- y  =>                       +-- Concat -- y
    b --+                                              b -- GlobalAveragePool --+

Only where nothing else reads the concatenation; else it is made anyway, and one mean is as fast.
"""

from __future__ import annotations

import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

from edgesr_export.rewrite.values import constant, parts_of, producer


class MeanOfParts(RewriteRuleClassBase):
    description = "mean over the pixels of a Concat -> GlobalAveragePool of its parts"

    def pattern(self, op, stacked):  # type: ignore[no-untyped-def]
        return op.ReduceMean(
            stacked, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["mean"]
        )

    def check(self, context: object, stacked: ir.Value, mean: ir.Value) -> MatchResult:
        result = MatchResult()
        node = producer(mean)
        axes = constant(node, 1)
        if axes is None or stacked.shape is None or stacked.shape.rank() != 4:
            return result.fail("computed axes, or no image", mean)
        if sorted(axis % 4 for axis in axes.tolist()) != [2, 3]:
            return result.fail("not a mean over the pixels", mean)
        if not node.attributes.get_int("keepdims", 1):
            return result.fail("the axes are dropped", mean)
        if len(parts_of(stacked)) < 2 or len(stacked.uses()) != 1 or stacked.is_graph_output():
            return result.fail("no concatenation, or one that is needed", stacked)
        return result

    def rewrite(self, op, stacked, mean):  # type: ignore[no-untyped-def]
        return op.Concat(*map(op.GlobalAveragePool, parts_of(stacked)), axis=1)
