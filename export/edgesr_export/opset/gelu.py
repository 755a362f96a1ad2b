"""Gelu (opset 20) by the error function or the hyperbolic tangent that it stands for.

::

    x -- Gelu -- y
    =>
    x --+-- Div(sqrt 2) -- Erf -- Add(1) --+
        +----------------------------------+-- Mul -- Mul(1/2) -- y

and, where it asks for the approximation, the inner part is Tanh(sqrt(2/pi) (x + 0.044715 x^3)).
ONNX Runtime and TensorRT know the form with the error function and fuse it into one kernel again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult

from edgesr_export.opset.rule import Named, SpelledOut
from edgesr_export.rewrite.values import FLOATS, producer


class GeluByErf(SpelledOut):
    description = "Gelu -> error function"
    since = 20

    def pattern(self, op, x):  # type: ignore[no-untyped-def]
        return op.Gelu(x, _allow_other_attributes=True, _outputs=["activated"])

    def check(self, context: object, x: ir.Value, activated: ir.Value) -> MatchResult:
        result = MatchResult()
        if (x.dtype or activated.dtype) not in FLOATS:
            return result.fail("of unknown type", x)
        return result

    def rewrite(self, op, x, activated):  # type: ignore[no-untyped-def]
        dtype = x.dtype or activated.dtype
        node = producer(activated)
        op = Named(op, node.name)

        def number(value: float, name: str) -> ir.Value:
            array = np.array(value, dtype.numpy())
            constant: ir.Value = op.initializer(ir.tensor(array), f"{activated.name}.{name}")
            return constant

        inner = (self._tanh if _approximate(node) else self._erf)(op, x, number)
        return op.Mul(op.Mul(x, op.Add(inner, number(1, "one"))), number(0.5, "half"))

    @staticmethod
    def _erf(op: Any, x: ir.Value, number: Any) -> ir.Value:
        inner: ir.Value = op.Erf(op.Div(x, number(math.sqrt(2), "root")))
        return inner

    @staticmethod
    def _tanh(op: Any, x: ir.Value, number: Any) -> ir.Value:
        cube = op.Mul(op.Mul(op.Mul(x, x), x), number(0.044715, "cubic"))
        inner: ir.Value = op.Tanh(op.Mul(op.Add(x, cube), number(math.sqrt(2 / math.pi), "scale")))
        return inner


def _approximate(node: ir.Node) -> bool:
    return node.attributes.get_string("approximate", "none") == "tanh"
