"""A trained BatchNormalization is a scale and a shift of channels: fold it into the convolution.

::

    x -- Conv(W, c) -- BatchNormalization(g, b, m, v) -- y
    =>
    x -- Conv(s W, s (c - m) + b) -- y          s = g / sqrt(v + epsilon)

Only where nothing else reads the convolution's output, and only in its form for inference.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

from edgesr_export.rewrite.affine import check_conv, conv_like, weights_of
from edgesr_export.rewrite.values import constant, producer


class BatchNormIntoConv(RewriteRuleClassBase):
    description = "BatchNormalization -> into the convolution before it"

    def pattern(self, op, x):  # type: ignore[no-untyped-def]
        convolved = op.Conv(
            x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["convolved"]
        )
        return op.BatchNormalization(
            convolved,
            _allow_other_inputs=True,
            _allow_other_attributes=True,
            _outputs=["normalised"],
        )

    def check(
        self, context: object, x: ir.Value, convolved: ir.Value, normalised: ir.Value
    ) -> MatchResult:
        result = MatchResult()
        node = producer(normalised)
        if node.attributes.get_int("training_mode", 0):
            return result.fail("in training", normalised)
        if any(constant(node, index) is None for index in range(1, 5)):
            return result.fail("computed statistics", normalised)
        return check_conv(result, convolved)

    def rewrite(self, op, x, convolved, normalised):  # type: ignore[no-untyped-def]
        node = producer(normalised)
        gain, shift, mean, variance = (
            np.asarray(constant(node, index), dtype=np.float64) for index in range(1, 5)
        )
        scale = gain / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
        weight, bias = weights_of(convolved)
        column = scale.reshape(-1, *[1] * (weight.ndim - 1))
        return conv_like(
            op, x, convolved, normalised, weight * column, (bias - mean) * scale + shift
        )
