"""Normalise over channels where they stand, instead of moving them to the end and back.

::

    x -- Transpose(N H W C) -- LayerNormalization(g, b) -- Transpose(N C H W) -- y
    =>
    x --+-- Sub -- c --+---------------------------------------------- Div -- n
        |    |         |                                                |
        +- mean over C +-- Pow 2 -- sum over C -- Add(C e) -- Sqrt -----+
    n -- Mul(g sqrt(C)) -- (Add b) -- y

For OpenVINO, which executes both transposes (LKCA-Net of rank 32, one thread: 296 ms to 179 in
float32), and which makes one operator of all from Pow to Div, as long as they stand in this form (2
threads, bfloat16: 51 ms to 46). ONNX Runtime makes the transposes part of a change of layout and is
slower without them.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

from edgesr_export.rewrite.values import absent, channels, constant, producer

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
        if channels(x) != len(scale):
            return result.fail("an unknown number of channels", x)
        return result

    def rewrite(self, op, x, pixels, normalised, image):  # type: ignore[no-untyped-def]
        node = producer(normalised)

        scale, shift = constant(node, 1), constant(node, 2)
        assert scale is not None  # the check
        depth = len(scale)

        def initializer(name: str, array: np.ndarray) -> ir.Value:
            value: ir.Value = op.initializer(ir.tensor(array), f"{image.name}.norm.{name}")
            return value

        axis = initializer("axis", np.array([1], np.int64))
        two = initializer("two", np.array(2, np.float32))
        least = np.array(depth * node.attributes.get_float("epsilon", 1e-5), np.float32)
        centred = op.Sub(x, op.ReduceMean(x, axis, keepdims=1))
        squares = op.ReduceSum(op.Pow(centred, two), axis, keepdims=1)
        length = op.Sqrt(op.Add(squares, initializer("epsilon", least)))
        gain = (scale * np.sqrt(depth)).astype(np.float32).reshape(-1, 1, 1)
        result = op.Mul(op.Div(centred, length), initializer("scale", gain))
        if shift is not None and shift.any():
            result = op.Add(result, initializer("shift", shift.reshape(-1, 1, 1)))
        return result
