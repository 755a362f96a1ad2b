"""Add first, shuffle once.

::

    a -- DepthToSpace(r) --+                 a --+
                           +-- Add -- y  =>      +-- Add -- DepthToSpace(r) -- y
    b -- DepthToSpace(r) --+                 b --+

The shuffle only moves values, so it commutes with an element-wise sum of equal shapes. One pass
over the large image is saved, and the sum can be fused into the convolution before it.
"""

from __future__ import annotations

import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

from edgesr_export.rewrite.values import channels, shuffle_of


class SharedShuffle(RewriteRuleClassBase):
    description = "sum of two pixel shuffles -> one pixel shuffle of the sum"

    def pattern(self, op, a, b):  # type: ignore[no-untyped-def]
        left = op.DepthToSpace(a, _allow_other_attributes=True, _outputs=["left"])
        right = op.DepthToSpace(b, _allow_other_attributes=True, _outputs=["right"])
        return op.Add(left, right)

    def check(
        self, context: object, a: ir.Value, b: ir.Value, left: ir.Value, right: ir.Value
    ) -> MatchResult:
        result = MatchResult()
        if shuffle_of(left) != shuffle_of(right):
            return result.fail("the two shuffles differ", [left, right])
        if channels(a) is None or channels(a) != channels(b):
            return result.fail("the sum may broadcast over channels", [a, b])
        return result

    def rewrite(self, op, a, b, left, right):  # type: ignore[no-untyped-def]
        size, mode = shuffle_of(left)
        total = op.Add(a, b)
        total.shape = a.shape if a.shape == b.shape else ir.Shape([None, channels(a), None, None])
        total.dtype = a.dtype
        return op.DepthToSpace(total, blocksize=size, mode=mode)
