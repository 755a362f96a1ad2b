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
        if _shuffle(left) != _shuffle(right):
            return result.fail("the two shuffles differ", [left, right])
        if _channels(a) is None or _channels(a) != _channels(b):
            return result.fail("the sum may broadcast over channels", [a, b])
        return result

    def rewrite(self, op, a, b, left, right):  # type: ignore[no-untyped-def]
        size, mode = _shuffle(left)
        return op.DepthToSpace(op.Add(a, b), blocksize=size, mode=mode)


def _shuffle(value: ir.Value) -> tuple[int, str]:
    node = value.producer()
    assert node is not None  # the pattern matched it
    return node.attributes.get_int("blocksize", 0), node.attributes.get_string("mode", "DCR")


def _channels(value: ir.Value) -> int | None:
    if value.shape is None or value.shape.rank() != 4:
        return None
    channels = value.shape[1]
    return channels if isinstance(channels, int) else None
