"""The tail of a super-resolution network, a few bands at a time, so that it stays in the cache.

::

    t -- Conv(C -> B r^2) ------------------+
                                            +-- Add -- DepthToSpace(r, CRD) -- y
    x -- Pad -- Conv(depthwise, B -> B r^2) +
    =>                    for every slab of bands:
    t -- Conv(its rows) -----------------------------------------------+
                                                                       +-- Add -- shuffle --+
    x -- Pad -- its bands -- Conv(k x 1) -- r times -- Conv(1 x k) ----+                    |
                                                                            Concat -- y  <--+

Three things are saved, all of them passes over the large image:

- a slab of about 128 channels fits the second-level cache from the convolution to the shuffle;
- the fixed depthwise kernels of an enlargement are products of a column and a row, and r phases
  share each column: 2 k multiplications a value instead of k^2, and both are true depthwise
  convolutions (as many outputs as inputs), which runtimes have in a blocked layout;
- within a slab the channels stand phase by phase, so that the shuffle is two plain transposes,
  (phase, pixel) -> (pixel, phase) and an exchange of whole rows, both far faster than a
  DepthToSpace (ONNX Runtime, 128 bands, x4, 64 x 64: 22 ms to 4).

Where a group of the convolution ends within a band, that band is a slab of its own, which reads all
groups that it lies in; weights of zero stand where a channel of the band is not of a group.

For the CPU of ONNX Runtime; :mod:`edgesr_export.rewrite.slabs_openvino` is the form for OpenVINO.
TensorRT prefers the graph above.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

from edgesr_export.rewrite.affine import check_conv, weights_of
from edgesr_export.rewrite.values import channels, constant, producer, shuffle_of, sizes

LANES = 16
"""Multiple of channels for which ONNX Runtime has its blocked layout (8 on lesser CPUs)."""

SPATIAL = ("kernel_shape", "pads", "auto_pad", "strides", "dilations")
SEPARABLE = 1e-6
"""Largest error, relative to the largest weight, of a kernel written as column times row."""


class SlabsOfBands(RewriteRuleClassBase):
    description = "convolution, residual and shuffle of the output -> slabs of bands"
    width = 128
    """Channels of one slab, about: 2 MB of float32 at 64 x 64 pixels."""

    def pattern(self, op, t, padded):  # type: ignore[no-untyped-def]
        detail = op.Conv(
            t, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["detail"]
        )
        base = op.Conv(
            padded, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["base"]
        )
        total = op.Add(detail, base, _outputs=["total"])
        return op.DepthToSpace(total, _allow_other_attributes=True, _outputs=["shuffled"])

    def check(
        self,
        context: object,
        t: ir.Value,
        padded: ir.Value,
        detail: ir.Value,
        base: ir.Value,
        total: ir.Value,
        shuffled: ir.Value,
    ) -> MatchResult:
        result = MatchResult()
        for convolved in (detail, base):
            if not check_conv(result, convolved):
                return result
        rate, order = shuffle_of(shuffled)
        bands = channels(padded)
        if order != "CRD" or bands is None or channels(t) is None:
            return result.fail("another shuffle, or an unknown number of channels", shuffled)
        weight, _ = weights_of(detail)
        if len(weight) != bands * rate**2:
            return result.fail("other numbers of bands", shuffled)
        if factors_of(base, rate) is None:
            return result.fail("the residual is no enlargement by fixed kernels", base)
        return result

    def rewrite(self, op, t, padded, detail, base, total, shuffled):  # type: ignore[no-untyped-def]
        rate, _ = shuffle_of(shuffled)
        bands = channels(padded)
        assert bands is not None  # the check
        weight, bias = weights_of(detail)
        bias = bias + weights_of(base)[1]
        groups = producer(detail).attributes.get_int("group", 1)
        slabs = list(slabs_of(bands, rate, groups, self.width))
        low = _split(op, padded, [stop - start for start, stop in slabs])
        depth = channels(t)
        assert depth is not None  # the check
        parts = _split(op, t, [depth // groups] * groups)
        outputs = []
        for (start, stop), source in zip(slabs, low, strict=True):
            rows = _phase_by_phase(start, stop, rate)
            first, last = start * groups // bands, -(-stop * groups // bands)
            read = parts[first:last]
            feature = read[0] if len(read) == 1 else op.Concat(*read, axis=1)
            kernels = _over_groups(weight, rows, groups, first, last)
            total = op.Add(
                _detail(op, feature, detail, kernels, bias[rows], start),
                _enlarged(op, source, base, rate, (start, stop)),
            )
            outputs.append(self.shuffle(op, total, stop - start, rate))
        return outputs[0] if len(outputs) == 1 else op.Concat(*outputs, axis=1)

    def shuffle(self, op: Any, total: ir.Value, bands: int, rate: int) -> ir.Value:
        """[N, r r B, h, w], column phase, row phase, band, to [N, B, h r, w r]."""
        height = op.Shape(total, start=2, end=3)
        by_phase = op.Reshape(total, sizes(op, 0, rate, -1))
        interleaved = op.Transpose(by_phase, perm=[0, 2, 1])
        head, tail = sizes(op, 0, rate, bands), sizes(op, -1)
        rows = op.Reshape(interleaved, op.Concat(head, height, tail, axis=0))
        stacked = op.Transpose(rows, perm=[0, 2, 3, 1, 4])
        tall = op.Mul(height, sizes(op, rate))
        image: ir.Value = op.Reshape(stacked, op.Concat(sizes(op, 0, bands), tall, tail, axis=0))
        return image


def factors_of(base: ir.Value, rate: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Columns [B, r, k] and rows [B, r, k] whose products are the depthwise kernels, or None."""
    weight, _ = weights_of(base)
    attributes = producer(base).attributes
    bands = attributes.get_int("group", 1)
    plain = (
        not any(attributes.get_ints("pads", ()))
        and set(attributes.get_ints("strides", (1,))) == {1}
        and set(attributes.get_ints("dilations", (1,))) == {1}
        and attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    )
    if weight.ndim != 4 or weight.shape[1] != 1 or len(weight) != bands * rate**2 or not plain:
        return None
    kernels = weight.reshape(bands, rate, rate, *weight.shape[2:])
    columns = kernels.sum(-1).mean(2)  # each row kernel of an enlargement sums to 1
    rows = kernels.sum(-2).mean(1)
    products = np.einsum("bpi,bqj->bpqij", columns, rows)
    close = np.abs(products - kernels).max() <= SEPARABLE * np.abs(kernels).max()
    return (columns, rows) if close else None


def slabs_of(bands: int, rate: int, groups: int, channels: int) -> Iterator[tuple[int, int]]:
    """First and last band of every slab: within one group, or one band that several share."""
    step = LANES // math.gcd(LANES, rate)
    width = max(1, channels // rate**2 // step) * step
    ends = range(groups + 1)
    cuts = sorted({g * bands // groups for g in ends} | {-(-g * bands // groups) for g in ends})
    for begin, stop in pairwise(cuts):
        for start in range(begin, stop, width):
            yield start, min(start + width, stop)


def _split(op: Any, value: ir.Value, sizes: list[int]) -> list[ir.Value]:
    if len(sizes) == 1:
        return [value]
    lengths = op.initializer(ir.tensor(np.array(sizes, np.int64)), f"{value.name}.slabs")
    return list(op.Split(value, lengths, axis=1, _outputs=len(sizes)))


def _over_groups(
    weight: np.ndarray, rows: np.ndarray, groups: int, first: int, last: int
) -> np.ndarray:
    """``rows`` of the kernels, reading all input channels of the groups ``first`` to ``last``."""
    depth = weight.shape[1]
    wide = np.zeros((len(rows), (last - first) * depth, *weight.shape[2:]), weight.dtype)
    own = rows * groups // len(weight) - first
    for group in range(last - first):
        wide[own == group, group * depth : (group + 1) * depth] = weight[rows[own == group]]
    return wide


def _phase_by_phase(start: int, stop: int, rate: int) -> np.ndarray:
    """Channels of the slab in the order column phase, row phase, band."""
    index = np.arange(start * rate**2, stop * rate**2).reshape(stop - start, rate, rate)
    return index.transpose(2, 1, 0).reshape(-1)


def _detail(
    op: Any,
    feature: ir.Value,
    detail: ir.Value,
    weight: np.ndarray,
    bias: np.ndarray,
    start: int,
) -> ir.Value:
    """The rows of the network's own convolution that the slab from band ``start`` needs."""
    node = producer(detail)
    inputs = [feature, _constant(op, weight, detail, f"{start}.weight")]
    if bias.any():
        inputs.append(_constant(op, bias, detail, f"{start}.bias"))
    attributes = {name: node.attributes[name] for name in SPATIAL if name in node.attributes}
    convolved: ir.Value = op.Conv(*inputs, **attributes)
    _describe(convolved, detail, len(weight))
    return convolved


def _enlarged(
    op: Any, source: ir.Value, base: ir.Value, rate: int, slab: tuple[int, int]
) -> ir.Value:
    """The residual of the slab's bands, channels in the order column phase, row phase, band."""
    factors = factors_of(base, rate)
    assert factors is not None  # the check
    columns, rows = (factor[slice(*slab)] for factor in factors)
    count = rate * len(columns)
    tall = columns.transpose(1, 0, 2).reshape(count, 1, -1, 1)
    wide = np.repeat(rows.transpose(1, 0, 2)[:, None], rate, axis=1)
    wide = wide.reshape(count * rate, 1, 1, -1)
    vertical = op.Conv(
        op.Concat(*[source] * rate, axis=1),
        _constant(op, tall, base, f"{slab[0]}.columns"),
        group=count,
    )
    residual: ir.Value = op.Conv(
        op.Concat(*[vertical] * rate, axis=1),
        _constant(op, wide, base, f"{slab[0]}.rows"),
        group=count * rate,
    )
    _describe(residual, base, count * rate)
    return residual


def _constant(op: Any, array: np.ndarray, like: ir.Value, name: str) -> ir.Value:
    """An initializer in the type of the weights that ``like`` was computed with."""
    old = constant(producer(like), 1)
    assert old is not None  # the check
    initializer: ir.Value = op.initializer(
        ir.tensor(array.astype(old.dtype)), f"{like.name}.{name}"
    )
    return initializer


def _describe(value: ir.Value, whole: ir.Value, depth: int) -> None:
    """Say that ``value`` is an image as large as ``whole``: runtimes fuse sums of equal shapes."""
    if whole.shape is not None and whole.shape.rank() == 4:
        value.shape = ir.Shape([whole.shape[0], depth, whole.shape[2], whole.shape[3]])
        value.type = whole.type
