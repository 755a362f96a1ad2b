"""LayerNormalization (opset 17) by two means.

::

    x -- LayerNormalization(g, b, axis) -- y
    =>
    x --+-- Sub -- c --+-------------------------------------------- Div -- (Mul g) -- (Add b) -- y
        |    |         |                                              |
        +-- mean       +-- Mul(c, c) -- mean -- Add(epsilon) -- Sqrt -+

In float32 even where x is float16, as the operator itself does (its stash type): squares outgrow
float16.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult

from edgesr_export.opset.rule import Named, SpelledOut
from edgesr_export.rewrite.values import FLOATS, absent, constant, producer


class LayerNormByMeans(SpelledOut):
    description = "LayerNormalization -> means"
    since = 17

    def pattern(self, op, x):  # type: ignore[no-untyped-def]
        return op.LayerNormalization(
            x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["normalised"]
        )

    def check(self, context: object, x: ir.Value, normalised: ir.Value) -> MatchResult:
        result, node = MatchResult(), producer(normalised)
        if x.dtype not in FLOATS:
            return result.fail("of unknown type", x)
        if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
            return result.fail("its mean or deviation is used", normalised)
        if _axes(x, node) is None:
            return result.fail("an image of unknown rank", x)
        return result

    def rewrite(self, op, x, normalised):  # type: ignore[no-untyped-def]
        node, dtype = producer(normalised), x.dtype
        op = Named(op, node.name)
        wide = ir.DataType.FLOAT if dtype == ir.DataType.FLOAT16 else dtype

        def initializer(name: str, array: np.ndarray) -> ir.Value:
            value: ir.Value = op.initializer(ir.tensor(array), f"{normalised.name}.{name}")
            return value

        axes = initializer("axes", np.array(_axes(x, node), np.int64))
        least = np.array(node.attributes.get_float("epsilon", 1e-5), wide.numpy())
        source = x if wide == dtype else op.Cast(x, to=wide)
        centred = op.Sub(source, op.ReduceMean(source, axes, keepdims=1))
        variance = op.ReduceMean(op.Mul(centred, centred), axes, keepdims=1)
        result = op.Div(centred, op.Sqrt(op.Add(variance, initializer("epsilon", least))))
        result = result if wide == dtype else op.Cast(result, to=dtype)
        scale = constant(node, 1)
        if scale is None or (scale != 1).any():
            result = op.Mul(result, node.inputs[1])
        shift = constant(node, 2)
        if not absent(node, 2) and (shift is None or shift.any()):
            result = op.Add(result, node.inputs[2])
        return result


def _axes(x: ir.Value, node: ir.Node) -> list[int] | None:
    """The axes normalised over, from the last one backwards as negative numbers."""
    first = node.attributes.get_int("axis", -1)
    if first >= 0:
        if x.shape is None:
            return None
        first -= x.shape.rank()
    return list(range(first, 0))
