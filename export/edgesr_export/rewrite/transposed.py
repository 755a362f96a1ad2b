"""A transposed convolution of stride r as a convolution to C r^2 channels and a pixel shuffle.

::

    x -- ConvTranspose(W, stride r, padding p) -- y
    =>
    x -- Conv(V) -- DepthToSpace(r, CRD) -- y

Output pixel r i + q takes tap t of W from input pixel i + s where r s = q + p - t. So each of the
r x r phases q is a convolution with some of the taps, and V holds them side by side, zeros where a
phase takes nothing: 3 x 3 taps for kernel 4, stride 2, padding 1. Only where the output is r times
as large as the input.

In float32 the transposed form is the faster one (ONNX Runtime, 128 to 128 channels, kernel 4,
stride 2, 64 x 64, 1 thread: 63 ms to 109), so this is no rule of
:data:`edgesr_export.rewrite.RULES`. In int8 no runtime here has it, and the convolution is twice
as fast as the transposed form in float32 (43 ms to 19): so the layers that become int8 are written
so, and they alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase, RewriteRuleSet

from edgesr_export.rewrite.affine import check_conv
from edgesr_export.rewrite.values import constant, producer


def by_convolutions(
    model: onnx.ModelProto, names: Collection[str] | None = None
) -> onnx.ModelProto:
    """The model with its transposed convolutions of these names, by default all, written so.

    A convolution has the name of the layer that it stands for. Those that cannot be written so
    stay.
    """
    graph = ir.from_proto(model)
    RewriteRuleSet([TransposedByConv.rule(names)]).apply_to_model(graph)
    RemoveUnusedNodesPass()(graph)
    return ir.to_proto(graph)


class TransposedByConv(RewriteRuleClassBase):
    description = "transposed convolution -> convolution, pixel shuffle"

    def __init__(self, names: Collection[str] | None = None) -> None:
        super().__init__()
        self._names = names

    def pattern(self, op, x):  # type: ignore[no-untyped-def]
        return op.ConvTranspose(
            x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["enlarged"]
        )

    def check(self, context: object, x: ir.Value, enlarged: ir.Value) -> MatchResult:
        result = check_conv(MatchResult(), enlarged)
        node = producer(enlarged)
        if self._names is not None and node.name not in self._names:
            return result.fail("not named", enlarged)
        if result and _phases(node) is None:
            return result.fail("the output is not the input times a stride", enlarged)
        return result

    def rewrite(self, op, x, enlarged):  # type: ignore[no-untyped-def]
        node = producer(enlarged)
        weight, bias, phases = constant(node, 1), constant(node, 2), _phases(node)
        assert weight is not None  # check
        assert phases is not None
        rate, groups = phases[0].rate, node.attributes.get_int("group", 1)
        spread = _spread(weight, groups, phases)
        inputs = [x, op.initializer(ir.tensor(spread), f"{enlarged.name}.weight")]
        if bias is not None:
            repeated = ir.tensor(np.repeat(bias, rate**2))
            inputs.append(op.initializer(repeated, f"{enlarged.name}.bias"))
        pads = [-axis.first for axis in phases] + [axis.last for axis in phases]
        convolved = op.Conv(*inputs, group=groups, pads=pads)
        producer(convolved).name = node.name
        if rate == 1:
            return convolved
        convolved.name = f"{enlarged.name}.phases"
        if x.shape is not None and x.dtype is not None:
            convolved.shape = ir.Shape([x.shape[0], len(spread), *x.shape[2:]])
            convolved.dtype = x.dtype
        return op.DepthToSpace(convolved, blocksize=rate, mode="CRD")


@dataclass(frozen=True)
class _Axis:
    """Where the taps of one axis come from.

    Attributes:
        rate: the stride r.
        taps: phase q, tap t and input pixel s, counted from that of the output.
    """

    rate: int
    taps: tuple[tuple[int, int, int], ...]

    @property
    def first(self) -> int:
        return min(0, *(pixel for _, _, pixel in self.taps))

    @property
    def last(self) -> int:
        return max(0, *(pixel for _, _, pixel in self.taps))


def _phases(node: ir.Node) -> tuple[_Axis, _Axis] | None:
    """Both axes of the image; None where the output is not the input times one stride."""
    weight, attributes = constant(node, 1), node.attributes
    if (
        weight is None
        or weight.ndim != 4
        or attributes.get_string("auto_pad", "NOTSET") != "NOTSET"
    ):
        return None

    def pair(name: str, usual: int) -> Sequence[int]:
        return list(attributes.get_ints(name, [usual] * 2))

    strides, dilations, more = pair("strides", 1), pair("dilations", 1), pair("output_padding", 0)
    pads = list(attributes.get_ints("pads", [0] * 4))
    if strides[0] != strides[1] or "output_shape" in attributes:
        return None
    axes = []
    for axis, size in enumerate(weight.shape[2:]):
        rate, step, before = strides[axis], dilations[axis], pads[axis]
        length = more[axis] + step * (size - 1) + 1 - before - pads[axis + 2]
        if length != rate:  # the output has rate * (input - 1) + length pixels
            return None
        taps = tuple(
            (phase, tap, (phase + before - step * tap) // rate)
            for phase in range(rate)
            for tap in range(size)
            if (phase + before - step * tap) % rate == 0
        )
        axes.append(_Axis(rate, taps))
    return axes[0], axes[1]


def _spread(weight: np.ndarray, groups: int, phases: tuple[_Axis, _Axis]) -> np.ndarray:
    """Weights [C_out r^2, C_in / g, ...] of the phases from those [C_in, C_out / g, k, k]."""
    rows, columns = phases
    by_group = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    sizes = [axis.last - axis.first + 1 for axis in phases]
    spread = np.zeros(
        (*by_group.shape[:2], rows.rate, columns.rate, by_group.shape[2], *sizes), weight.dtype
    )
    for phase, tap, pixel in rows.taps:
        for phase2, tap2, pixel2 in columns.taps:
            place = pixel - rows.first, pixel2 - columns.first
            spread[:, :, phase, phase2, :, place[0], place[1]] = by_group[..., tap, tap2]
    return spread.reshape(-1, *spread.shape[4:])
