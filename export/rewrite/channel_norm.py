"""Normalise over channels where they stand, instead of moving them to the end and back.

::

    x -- Transpose(N H W C) -- LayerNormalization(g, b) -- Transpose(N C H W) -- y
    =>
    x --+-- Sub -- c --+--------------------------------------------- Div -- (Mul g, Add b) -- y
        |    |         |                                               |
        +- mean over C +-- Mul(c, c) -- mean over C -- Add(e) -- Sqrt -+

For OpenVINO, which executes both transposes (LKCA-Net of rank 32, one thread: 296 ms to 179 in
float32). ONNX Runtime makes them part of a change of layout and is slower without them.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

from export.rewrite.values import absent, constant, producer

TO_CHANNELS_LAST, TO_CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


class ChannelNormInPlace(RewriteRuleClassBase):
    description = "LayerNormalization between two transposes -> means over the channels in place"

    def pattern(self, op, x):  # type: ignore[no-untyped-def]
        pixels = op.Transpose(x, _allow_other_attributes=True, _outputs=["pixels"])
        normalised = op.LayerNormalization(
            pixels,
            _allow_other_inputs=True,
            _allow_other_attributes=True,
            _outputs=["normalised"],
        )
        return op.Transpose(normalised, _allow_other_attributes=True, _outputs=["image"])

    def check(
        self,
        context: object,
        x: ir.Value,
        pixels: ir.Value,
        normalised: ir.Value,
        image: ir.Value,
    ) -> MatchResult:
        result = MatchResult()
        orders = [tuple(producer(v).attributes.get_ints("perm", ())) for v in (pixels, image)]
        if orders != [TO_CHANNELS_LAST, TO_CHANNELS_FIRST]:
            return result.fail("another order of axes", image)
        node = producer(normalised)
        if node.attributes.get_int("axis", -1) not in (-1, 3) or x.dtype != ir.DataType.FLOAT:
            return result.fail("not over channels alone, or not float32", normalised)
        scale, shift = constant(node, 1), constant(node, 2)
        if scale is None or scale.ndim != 1 or not (absent(node, 2) or shift is not None):
            return result.fail("computed scale or shift", normalised)
        return result

    def rewrite(self, op, x, pixels, normalised, image):  # type: ignore[no-untyped-def]
        node = producer(normalised)

        def initializer(name: str, array: np.ndarray) -> ir.Value:
            value: ir.Value = op.initializer(ir.tensor(array), f"{image.name}.{name}")
            return value

        axis = initializer("axis", np.array([1], np.int64))
        least = np.array(node.attributes.get_float("epsilon", 1e-5), np.float32)
        centred = op.Sub(x, op.ReduceMean(x, axis, keepdims=1))
        variance = op.ReduceMean(op.Mul(centred, centred), axis, keepdims=1)
        result = op.Div(centred, op.Sqrt(op.Add(variance, initializer("epsilon", least))))
        scale, shift = constant(node, 1), constant(node, 2)
        assert scale is not None  # the check
        if (scale != 1).any():
            result = op.Mul(result, initializer("scale", scale.reshape(-1, 1, 1)))
        if shift is not None and shift.any():
            result = op.Add(result, initializer("shift", shift.reshape(-1, 1, 1)))
        return result
