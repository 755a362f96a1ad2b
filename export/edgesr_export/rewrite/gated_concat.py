"""Channel attention before an int8 convolution: each part with its channels last, and small early.

::

    a --+                +-- ... -- gate --+
        +-- Concat -- s -+                 +-- Mul -- QuantizeLinear -- q
    b --+                +-----------------+
    =>
    a -- Transpose -- Reshape(N, H W, C) -- Mul(its gate) -- QuantizeLinear --+
                                                                              +-- Concat -- p
    b -- Transpose -- Reshape(N, H W, C) -- Mul(its gate) -- QuantizeLinear --+
    p -- Reshape(N, H, W, C) -- Transpose(N C H W) -- q

For ONNX Runtime, whose int8 convolutions want the channels last: it would concatenate in float32,
quantise and then transpose bytes, which is slow, but it writes the output of a float convolution in
any order for nothing. The Reshape keeps its optimiser from moving the transposes back. LKCA-Net of
rank 32, 128 bands, x4, 64 x 64, one thread: 122 ms to 101, with :mod:`.mean_of_parts`.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

from edgesr_export.rewrite.channel_norm import TO_CHANNELS_FIRST, TO_CHANNELS_LAST
from edgesr_export.rewrite.values import channels, constant, parts_of, producer, sizes


class GatedConcatChannelsLast(RewriteRuleClassBase):
    description = "quantised channel attention over a Concat -> part by part, channels last"

    def pattern(self, op, stacked, gate, scale, zero):  # type: ignore[no-untyped-def]
        gated = op.Mul(stacked, gate)
        return op.QuantizeLinear(
            gated, scale, zero, _allow_other_attributes=True, _outputs=["levels"]
        )

    def check(
        self,
        context: object,
        stacked: ir.Value,
        gate: ir.Value,
        scale: ir.Value,
        zero: ir.Value,
        levels: ir.Value,
    ) -> MatchResult:
        result = MatchResult()
        parts = parts_of(stacked)
        if len(parts) < 2 or any(channels(part) is None for part in parts):
            return result.fail("no concatenation of known numbers of channels", stacked)
        if channels(gate) != channels(stacked) or list(gate.shape or ())[2:] != [1, 1]:
            return result.fail("no gate of one value a channel", gate)
        step = constant(producer(levels), 1)
        if step is None or step.size != 1:
            return result.fail("not one scale", scale)
        return result

    def rewrite(self, op, stacked, gate, scale, zero, levels):  # type: ignore[no-untyped-def]
        parts = parts_of(stacked)
        depths = [channels(part) or 0 for part in parts]
        lengths = op.initializer(ir.tensor(np.array(depths, np.int64)), f"{levels.name}.parts")
        row = op.Reshape(gate, sizes(op, 0, 1, -1))
        gates = op.Split(row, lengths, axis=2, _outputs=len(parts))
        attributes = dict(producer(levels).attributes.items())
        quantised = []
        for part, own, depth in zip(parts, gates, depths, strict=True):
            image = op.Transpose(part, perm=list(TO_CHANNELS_LAST))
            pixels = op.Reshape(image, sizes(op, 0, -1, depth))
            quantised.append(op.QuantizeLinear(op.Mul(pixels, own), scale, zero, **attributes))
        joined = op.Concat(*quantised, axis=2)
        size = op.Shape(parts[-1], start=2, end=4)
        split = op.Concat(sizes(op, 0), size, sizes(op, sum(depths)), axis=0)
        return op.Transpose(op.Reshape(joined, split), perm=list(TO_CHANNELS_FIRST))
