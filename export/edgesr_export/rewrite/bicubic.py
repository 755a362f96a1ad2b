"""Bicubic enlargement as a convolution.

::

    x -- Resize(cubic, half_pixel, r) -- y
    =>
    x -- Pad(edge, 2) -- Conv(5 x 5, depthwise, B -> B r^2) -- DepthToSpace(r, CRD) -- y

The four cubic taps of each phase lie within i - 2 .. i + 2 (see
:mod:`edgesr_export.rewrite.resize`). The fixed weights stand in the channel order of PixelShuffle,
so the shuffle can be shared with a network's own (see :mod:`edgesr_export.rewrite.shuffle`).

Most runtimes have a slow bicubic Resize or none; all have a fast convolution. Antialiasing widens
the kernel, align_corners and asymmetric coordinates move it from pixel to pixel: those stay
untouched.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

from edgesr_export.rewrite.resize import HALF_PIXEL, by_conv, check_resize, factor, tap_weights
from edgesr_export.rewrite.values import producer


class BicubicByConv(RewriteRuleClassBase):
    description = "bicubic Resize -> edge Pad, depthwise 5 x 5 Conv, pixel shuffle"

    def pattern(self, op, x):  # type: ignore[no-untyped-def]
        return op.Resize(
            x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["resized"]
        )

    def check(self, context: object, x: ir.Value, resized: ir.Value) -> MatchResult:
        result = MatchResult()
        attributes = producer(resized).attributes
        if (
            attributes.get_string("mode", "nearest") != "cubic"
            or attributes.get_string("coordinate_transformation_mode", "half_pixel")
            not in HALF_PIXEL
        ):
            return result.fail("no bicubic of half-pixel centres", resized)
        return check_resize(result, x, resized)

    def rewrite(self, op, x: ir.Value, resized: ir.Value):  # type: ignore[no-untyped-def]
        node = producer(resized)
        rate = factor(node)
        assert rate is not None  # the check
        a = node.attributes.get_float("cubic_coeff_a", -0.75)
        return by_conv(op, x, resized, rate, phase_kernels(rate, a), "bicubic")


def phase_kernels(rate: int, a: float) -> np.ndarray:
    """Kernels [r^2, 1, 5, 5] float64 of the r x r sub-pixels, rows first.

    Each sums to 1: cubic convolution keeps constants (Keys, 1981).
    """
    return tap_weights(rate, 2, lambda distance: _cubic(distance, a))


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
