"""GroupNormalization (opset 18) by the InstanceNormalization of its groups.

::

    x -- GroupNormalization(G, g, b) -- y
    =>
    x --+-- Reshape [N, G, rest] -- InstanceNormalization(1, 0) --+
        +-- Shape ------------------------------------------------+-- Reshape -- y

then times g, plus b. From opset 21 on scale and shift belong to channels, before to groups.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult

from edgesr_export.opset.rule import Named, SpelledOut
from edgesr_export.rewrite.values import FLOATS, channels, constant, producer


class GroupNormByInstanceNorm(SpelledOut):
    description = "GroupNormalization -> InstanceNormalization of the groups"
    since = 18

    def pattern(self, op, x):  # type: ignore[no-untyped-def]
        return op.GroupNormalization(
            x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["normalised"]
        )

    def check(self, context: object, x: ir.Value, normalised: ir.Value) -> MatchResult:
        result, node = MatchResult(), producer(normalised)
        if x.dtype not in FLOATS or channels(x) is None:
            return result.fail("not an image of a known number of channels", x)
        if constant(node, 1) is None or constant(node, 2) is None:
            return result.fail("computed scale or shift", normalised)
        return result

    def rewrite(self, op, x, normalised):  # type: ignore[no-untyped-def]
        node, depth = producer(normalised), channels(x)
        assert depth is not None  # the check
        op = Named(op, node.name)
        groups = node.attributes.get_int("num_groups", 1)

        def initializer(name: str, array: np.ndarray) -> ir.Value:
            value: ir.Value = op.initializer(ir.tensor(array), f"{normalised.name}.{name}")
            return value

        def by_channel(index: int, name: str) -> ir.Value:
            values = constant(node, index)
            assert values is not None  # the check
            values = np.repeat(values, depth // len(values))
            return initializer(name, values.reshape(-1, 1, 1))

        dtype = x.dtype.numpy()
        grouped = op.Reshape(x, initializer("groups", np.array([0, groups, -1], np.int64)))
        plain = op.InstanceNormalization(
            grouped,
            initializer("ones", np.ones(groups, dtype)),
            initializer("zeros", np.zeros(groups, dtype)),
            epsilon=node.attributes.get_float("epsilon", 1e-5),
        )
        image = op.Reshape(plain, op.Shape(x))
        return op.Add(op.Mul(image, by_channel(1, "scale")), by_channel(2, "shift"))
