"""Bicubic enlargement as a convolution.

::

    x -- Resize(cubic, half_pixel, r) -- y
    =>
    x -- Pad(edge, 2) -- Conv(5 x 5, depthwise, B -> B r^2) -- DepthToSpace(r, CRD) -- y

With half-pixel centres and an integer factor r, output pixel r*i + p lies at i + (p + 0.5)/r - 0.5
of the input: the same offset for every i, so the four cubic taps of each of the r phases are
constants within i - 2 .. i + 2. Repeating the edge pixels is what Resize does at the border.
The fixed weights stand in the channel order of PixelShuffle, so the shuffle can be shared with a
network's own (see :mod:`export.rewrite.shuffle`).

Most runtimes have a slow Resize or none; all have a fast convolution. Antialiasing widens the
kernel, align_corners and asymmetric coordinates move it from pixel to pixel: those stay untouched.
"""

from __future__ import annotations

import re

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

COORDINATES = ("half_pixel", "pytorch_half_pixel")
"""The two differ only where an output axis has length 1, which no r >= 2 gives."""


class BicubicByConv(RewriteRuleClassBase):
    description = "bicubic Resize -> edge Pad, depthwise 5 x 5 Conv, pixel shuffle"

    def pattern(self, op, x):  # type: ignore[no-untyped-def]
        return op.Resize(
            x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["resized"]
        )

    def check(self, context: object, x: ir.Value, resized: ir.Value) -> MatchResult:
        result = MatchResult()
        node = resized.producer()
        assert node is not None  # the pattern matched it
        if not _is_plain_cubic(node):
            return result.fail("another kind of resize", resized)
        if x.shape is None or x.shape.rank() != 4 or not isinstance(x.shape[1], int):
            return result.fail("not an image of a known number of bands", x)
        if x.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE):
            return result.fail("not a floating-point image", x)
        if _factor(node) is None:
            return result.fail("no integer factor common to both axes", resized)
        return result

    def rewrite(self, op, x: ir.Value, resized: ir.Value):  # type: ignore[no-untyped-def]
        node = resized.producer()
        assert node is not None
        assert x.shape is not None
        assert x.dtype is not None
        factor, bands = _factor(node), x.shape[1]
        assert isinstance(factor, int)
        assert isinstance(bands, int)
        a = node.attributes.get_float("cubic_coeff_a", -0.75)
        weight = np.tile(phase_kernels(factor, a), (bands, 1, 1, 1)).astype(x.dtype.numpy())
        pads = np.array([0, 0, 2, 2, 0, 0, 2, 2], dtype=np.int64)
        padded = op.Pad(x, op.initializer(ir.tensor(pads), f"{x.name}.edge"), mode="edge")
        phases = op.Conv(
            padded, op.initializer(ir.tensor(weight), f"{resized.name}.bicubic"), group=bands
        )
        phases.shape = ir.Shape([x.shape[0], bands * factor**2, x.shape[2], x.shape[3]])
        phases.dtype = x.dtype
        return op.DepthToSpace(phases, blocksize=factor, mode="CRD")


def phase_kernels(factor: int, a: float) -> np.ndarray:
    """Kernels [r^2, 1, 5, 5] float64 of the r x r sub-pixels, rows first.

    Each sums to 1: cubic convolution keeps constants (Keys, 1981).
    """
    taps = np.arange(-2, 3)
    offsets = (np.arange(factor) + 0.5) / factor - 0.5
    phases = _cubic(np.abs(taps[None, :] - offsets[:, None]), a)
    return np.einsum("pi,qj->pqij", phases, phases).reshape(factor**2, 1, 5, 5)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _is_plain_cubic(node: ir.Node) -> bool:
    attributes = node.attributes
    return (
        attributes.get_string("mode", "nearest") == "cubic"
        and attributes.get_string("coordinate_transformation_mode", "half_pixel") in COORDINATES
        and attributes.get_int("antialias", 0) == 0
        and attributes.get_int("exclude_outside", 0) == 0
        and attributes.get_string("keep_aspect_ratio_policy", "stretch") == "stretch"
    )


def _factor(node: ir.Node) -> int | None:
    """The integer r >= 2 by which the node enlarges both axes, or None."""
    scales = _constant(node, 2)
    axes = list(node.attributes.get_ints("axes", range(4)))
    if scales is not None and len(scales) == len(axes):
        by_axis = {axis % 4: float(scale) for axis, scale in zip(axes, scales, strict=True)}
        factors = [by_axis.get(axis, 1.0) for axis in range(4)]
    else:
        source, target = node.inputs[0], node.outputs[0]
        if source is None or source.shape is None or target.shape is None:
            return None
        factors = [
            _ratio(small, large) for small, large in zip(source.shape, target.shape, strict=True)
        ]
    rows, columns = factors[2:]
    if factors[:2] != [1.0, 1.0] or rows != columns or rows < 2 or rows != int(rows):
        return None
    return int(rows)


def _ratio(small: int | ir.SymbolicDim, large: int | ir.SymbolicDim) -> float:
    """large / small, read from the expression where the axis is free; 0 where it is not known."""
    if isinstance(small, int) and isinstance(large, int):
        return large / small
    if isinstance(small, int) or isinstance(large, int) or not (small.value and large.value):
        return 0.0
    if small.value == large.value:
        return 1.0
    multiple = re.fullmatch(r"(\d+)\*" + re.escape(small.value), large.value)
    return float(multiple[1]) if multiple else 0.0


def _constant(node: ir.Node, index: int) -> np.ndarray | None:
    value = node.inputs[index] if len(node.inputs) > index else None
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None or tensor.size == 0 else tensor.numpy()
