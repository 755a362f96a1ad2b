"""What the rules for a Resize share: which ones they take, and the convolution that replaces it.

With half-pixel centres and an integer factor r, output pixel r*i + p lies at i + (p + 0.5)/r - 0.5
of the input: the same offset for every i, so the taps of each of the r phases are constants.
Repeating the edge pixels is what Resize does at the border.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult

from edgesr_export.rewrite.values import FLOATS, channels, constant

HALF_PIXEL = ("half_pixel", "pytorch_half_pixel")
"""The two differ only where an output axis has length 1, which no r >= 2 gives."""


def check_resize(result: MatchResult, x: ir.Value, resized: ir.Value) -> MatchResult:
    """Fail unless the node enlarges an image of known depth by one integer, edges repeated."""
    node = resized.producer()
    assert node is not None  # the pattern matched it
    attributes = node.attributes
    if (
        attributes.get_int("antialias", 0)
        or attributes.get_int("exclude_outside", 0)
        or attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch"
    ):
        return result.fail("another kind of resize", resized)
    if channels(x) is None:
        return result.fail("not an image of a known number of bands", x)
    if x.dtype not in FLOATS:
        return result.fail("not a floating-point image", x)
    if factor(node) is None:
        return result.fail("no integer factor common to both axes", resized)
    return result


def factor(node: ir.Node) -> int | None:
    """The integer r >= 2 by which the node enlarges both axes, or None."""
    scales = constant(node, 2)
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


def tap_weights(rate: int, reach: int, kernel: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Weights [r^2, 1, k, k] float64 of the r x r sub-pixels, rows first, k = 2 reach + 1.

    Args:
        rate: the factor r.
        reach: pixels on either side that the kernel touches.
        kernel: weight at an absolute distance, in input pixels.
    """
    taps = np.arange(-reach, reach + 1)
    offsets = (np.arange(rate) + 0.5) / rate - 0.5
    phases = kernel(np.abs(taps[None, :] - offsets[:, None]))
    size = 2 * reach + 1
    return np.einsum("pi,qj->pqij", phases, phases).reshape(rate**2, 1, size, size)


def by_conv(
    op: Any, x: ir.Value, resized: ir.Value, rate: int, weights: np.ndarray, name: str
) -> ir.Value:
    """Edge pad, depthwise convolution by ``weights`` [r^2, 1, k, k], pixel shuffle.

    The initializer of the weights ends in ``name``, which tells the layer apart in reports.
    """
    assert x.shape is not None  # the checks
    assert x.dtype is not None
    bands, reach = channels(x), weights.shape[-1] // 2
    assert bands is not None
    weight = np.tile(weights, (bands, 1, 1, 1)).astype(x.dtype.numpy())
    if reach:
        pads = np.array([0, 0, reach, reach, 0, 0, reach, reach], dtype=np.int64)
        source = op.Pad(x, op.initializer(ir.tensor(pads), f"{resized.name}.edge"), mode="edge")
        source.shape = ir.Shape([x.shape[0], bands, None, None])
        source.dtype = x.dtype
    else:
        source = x
    phases = op.Conv(
        source, op.initializer(ir.tensor(weight), f"{resized.name}.{name}"), group=bands
    )
    phases.shape = ir.Shape([x.shape[0], bands * rate**2, x.shape[2], x.shape[3]])
    phases.dtype = x.dtype
    shuffled: ir.Value = op.DepthToSpace(phases, blocksize=rate, mode="CRD")
    return shuffled


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
