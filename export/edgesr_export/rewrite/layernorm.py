"""The scale and shift of a LayerNormalization over channels, folded into the next 1 x 1 Conv.

::

    x -- Transpose(N H W C) -- LayerNormalization(g, b) -- Transpose(N C H W) -- Conv(W, c) -- y
    =>
    x -- Transpose -- LayerNormalization(1) -- Transpose -- Conv(W g, W b + c) -- y

A larger kernel would read padding, which the shift does not reach; it stays untouched. The two
transposes stay: runtimes turn them into the change of layout that they make there anyway.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

from edgesr_export.rewrite.affine import check_conv, conv_like, weights_of
from edgesr_export.rewrite.values import absent, constant, producer

TO_CHANNELS_FIRST = (0, 3, 1, 2)


class LayerNormAffineIntoConv(RewriteRuleClassBase):
    description = "scale and shift of LayerNormalization -> into the 1 x 1 convolution after it"

    def pattern(self, op, pixels):  # type: ignore[no-untyped-def]
        normalised = op.LayerNormalization(
            pixels,
            _allow_other_inputs=True,
            _allow_other_attributes=True,
            _outputs=["normalised"],
        )
        image = op.Transpose(normalised, _allow_other_attributes=True, _outputs=["image"])
        return op.Conv(
            image, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["convolved"]
        )

    def check(
        self,
        context: object,
        pixels: ir.Value,
        normalised: ir.Value,
        image: ir.Value,
        convolved: ir.Value,
    ) -> MatchResult:
        result = check_conv(MatchResult(), convolved)
        if not result:
            return result
        if tuple(producer(image).attributes.get_ints("perm", ())) != TO_CHANNELS_FIRST:
            return result.fail("another order of axes", image)
        node, conv = producer(normalised), producer(convolved)
        if node.attributes.get_int("axis", -1) not in (-1, 3) or pixels.dtype is None:
            return result.fail("a norm over more than channels", normalised)
        scale, shift = constant(node, 1), constant(node, 2)
        if scale is None or scale.ndim != 1 or not (absent(node, 2) or shift is not None):
            return result.fail("computed scale or shift", normalised)
        if (scale == 1).all() and absent(node, 2):
            return result.fail("nothing to fold", normalised)
        weight, _ = weights_of(convolved)
        padded = any(conv.attributes.get_ints("pads", ()))
        padded |= conv.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
        if weight.shape[2:] != (1, 1) or padded:
            return result.fail("the convolution reads more than the pixel", convolved)
        return result

    def rewrite(self, op, pixels, normalised, image, convolved):  # type: ignore[no-untyped-def]
        node, conv = producer(normalised), producer(convolved)
        scale, shift = constant(node, 1), constant(node, 2)
        assert scale is not None  # the check
        weight, bias = weights_of(convolved)
        groups = conv.attributes.get_int("group", 1)
        inner = weight[:, :, 0, 0].reshape(groups, len(weight) // groups, -1)
        if shift is not None:
            by_group = shift.astype(np.float64).reshape(groups, -1)
            bias = bias + np.einsum("goi,gi->go", inner, by_group).reshape(-1)
        inner = inner * scale.astype(np.float64).reshape(groups, 1, -1)
        ones = op.initializer(ir.tensor(np.ones_like(scale)), f"{normalised.name}.ones")
        attributes = dict(node.attributes.items())
        plain = op.LayerNormalization(pixels, ones, **attributes)
        producer(plain).name = node.name
        first = op.Transpose(plain, perm=list(TO_CHANNELS_FIRST))
        return conv_like(op, first, convolved, convolved, inner.reshape(weight.shape), bias)
