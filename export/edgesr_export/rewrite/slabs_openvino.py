"""Slabs of bands for OpenVINO: the same tail, with the shuffle of a slab in one transpose.

::

    total [N, r r B, h, w] -- Reshape [N, r, r, B, h, w] -- Transpose -- Reshape [N, B, h r, w r]

See :mod:`edgesr_export.rewrite.slabs`. OpenVINO keeps images with the channels last, where one
general transpose of a slab is faster than its DepthToSpace, and than the two plain transposes that
ONNX Runtime prefers (tail of LKCA-Net of rank 32, 128 bands, x4, 64 x 64, one thread, bfloat16: 36
ms with DepthToSpace, 30 with two transposes, 22 with one).
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from edgesr_export.rewrite.slabs import SlabsOfBands
from edgesr_export.rewrite.values import sizes


class SlabsForOpenVino(SlabsOfBands):
    width = 256

    def shuffle(self, op: Any, total: ir.Value, bands: int, rate: int) -> ir.Value:
        """[N, r r B, h, w], column phase, row phase, band, to [N, B, h r, w r]."""
        pixels = op.Shape(total, start=2, end=4)
        split = op.Concat(sizes(op, 0, rate, rate, bands), pixels, axis=0)
        moved = op.Transpose(op.Reshape(total, split), perm=[0, 3, 4, 2, 5, 1])
        enlarged = op.Mul(pixels, sizes(op, rate, rate))
        image: ir.Value = op.Reshape(moved, op.Concat(sizes(op, 0, bands), enlarged, axis=0))
        return image
