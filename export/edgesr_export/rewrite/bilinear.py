"""Bilinear enlargement as a convolution, where it is added to a pixel shuffle.

::

    a -- DepthToSpace(r, CRD) --------+
                                      +-- Add -- y
    x -- Resize(linear, half_pixel) --+
    =>
    a -- DepthToSpace(r, CRD) --------------------------------------------+
                                                                          +-- Add -- y
    x -- Pad(edge, 1) -- Conv(3 x 3, depthwise) -- DepthToSpace(r, CRD) --+

Then the two shuffles become one (:mod:`edgesr_export.rewrite.shuffle`). Alone, a bilinear Resize is
as fast as the convolution and the shuffle (ONNX Runtime, 128 bands, x4: 14 ms to 21), so it stays.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

from edgesr_export.rewrite.resize import HALF_PIXEL, by_conv, check_resize, factor, tap_weights
from edgesr_export.rewrite.values import producer, shuffle_of


class BilinearByConv(RewriteRuleClassBase):
    description = "bilinear Resize beside a pixel shuffle -> depthwise 3 x 3 Conv, pixel shuffle"

    def pattern(self, op, a, x):  # type: ignore[no-untyped-def]
        shuffled = op.DepthToSpace(a, _allow_other_attributes=True, _outputs=["shuffled"])
        resized = op.Resize(
            x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["resized"]
        )
        return op.Add(shuffled, resized)

    def check(
        self, context: object, a: ir.Value, x: ir.Value, shuffled: ir.Value, resized: ir.Value
    ) -> MatchResult:
        result = MatchResult()
        attributes = producer(resized).attributes
        if (
            attributes.get_string("mode", "nearest") != "linear"
            or attributes.get_string("coordinate_transformation_mode", "half_pixel")
            not in HALF_PIXEL
        ):
            return result.fail("no bilinear of half-pixel centres", resized)
        if shuffle_of(shuffled) != (factor(producer(resized)), "CRD"):
            return result.fail("the shuffle differs", shuffled)
        return check_resize(result, x, resized)

    def rewrite(self, op, a, x, shuffled, resized):  # type: ignore[no-untyped-def]
        rate, order = shuffle_of(shuffled)
        enlarged = by_conv(op, x, resized, rate, triangle_kernels(rate), "bilinear")
        return op.Add(op.DepthToSpace(a, blocksize=rate, mode=order), enlarged)


def triangle_kernels(rate: int) -> np.ndarray:
    """Kernels [r^2, 1, 3, 3] float64 of the r x r sub-pixels, rows first; each sums to 1."""
    return tap_weights(rate, 1, lambda distance: np.maximum(0.0, 1.0 - distance))
