"""A constant factor for each channel, folded into the convolution before it.

::

    x -- Conv(W, c) -- Mul(s) -- y   =>   x -- Conv(s W, s c) -- y

Such a factor is the layer scale of residual blocks. The convolution then stands directly before
the residual sum, into which runtimes fuse it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

from edgesr_export.rewrite.affine import check_conv, conv_like, weights_of


class ScaleIntoConv(RewriteRuleClassBase):
    description = "constant factor per channel -> into the convolution before it"

    def pattern(self, op, x, scale):  # type: ignore[no-untyped-def]
        convolved = op.Conv(
            x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["convolved"]
        )
        return op.Mul(convolved, scale, _outputs=["scaled"])

    def check(
        self, context: object, x: ir.Value, scale: ir.Value, convolved: ir.Value, scaled: ir.Value
    ) -> MatchResult:
        result = check_conv(MatchResult(), convolved)
        if result and _column(convolved, scale) is None:
            return result.fail("no constant factor per channel", scale)
        return result

    def rewrite(self, op, x, scale, convolved, scaled):  # type: ignore[no-untyped-def]
        weight, bias = weights_of(convolved)
        column = _column(convolved, scale)
        assert column is not None  # the check
        new = weight * column.reshape(-1, *[1] * (weight.ndim - 1))
        return conv_like(op, x, convolved, scaled, new, bias * column)


def _column(convolved: ir.Value, scale: ir.Value) -> np.ndarray | None:
    """The factors, one a channel or one for all; None if they vary otherwise or are computed."""
    tensor = ir.convenience.get_const_tensor(scale)
    if tensor is None or scale.is_graph_input():
        return None
    weight, _ = weights_of(convolved)
    factors = tensor.numpy().astype(np.float64)
    if factors.size == 1 and factors.ndim <= weight.ndim:
        return factors.reshape(1)
    aligned = (1,) * (weight.ndim - factors.ndim) + factors.shape
    wanted = (1, len(weight), *[1] * (weight.ndim - 2))
    return factors.reshape(-1) if aligned == wanted else None
