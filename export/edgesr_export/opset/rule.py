"""What the rules share: since when an operator exists, and names for the nodes that replace it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnx
import onnx_ir as ir
from onnxscript.rewriter import RewriteRuleClassBase

from edgesr_export.fp16 import kept_nodes, remember_kept


class SpelledOut(RewriteRuleClassBase):
    """A rule that says an operator by older ones.

    Attributes:
        description: what it does, in a few words.
        since: first operator set that has the operator.
    """

    description: str
    since: int


class Named:
    """A rewriter's operators, whose nodes are called ``<layer>.<operator>``, with a number."""

    def __init__(self, op: Any, layer: str | None) -> None:
        self._op = op
        self._layer = layer or "layer"
        self._seen: Counter[str] = Counter()

    def __getattr__(self, operator: str) -> Any:
        make = getattr(self._op, operator)
        return make if operator == "initializer" else self._naming(make, operator)

    def _naming(self, make: Any, operator: str) -> Any:
        def made(*inputs: ir.Value, **attributes: Any) -> ir.Value:
            value: ir.Value = make(*inputs, **attributes)
            self._seen[operator] += 1
            node = value.producer()
            assert node is not None  # it was made just now
            node.name = f"{self._layer}.{operator}_{self._seen[operator]}"
            return value

        return made


def keep_too(model: onnx.ModelProto) -> None:
    """Where a layer stands in float32 on purpose, so do the nodes named after it; in place."""
    kept = kept_nodes(model)
    if not kept:
        return
    found = {}
    for node in model.graph.node:
        layer = node.name if node.name in kept else node.name.rpartition(".")[0]
        if layer in kept:
            found[node.name] = kept[layer]
    remember_kept(model, found)
