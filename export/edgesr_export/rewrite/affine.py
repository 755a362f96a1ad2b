"""A convolution whose output channels are scaled and shifted: the arithmetic that rules share."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult

from edgesr_export.rewrite.values import absent, constant, producer


def check_conv(result: MatchResult, convolved: ir.Value) -> MatchResult:
    """Fail unless the weights and the bias of the convolution are constants."""
    node = producer(convolved)
    if constant(node, 1) is None or not (absent(node, 2) or constant(node, 2) is not None):
        return result.fail("computed weights", convolved)
    return result


def weights_of(convolved: ir.Value) -> tuple[np.ndarray, np.ndarray]:
    """Weights [C_out, C_in / g, ...] and bias [C_out] (zeros if it has none), in float64."""
    node = producer(convolved)
    weight, bias = constant(node, 1), constant(node, 2)
    assert weight is not None  # check_conv
    exact = weight.astype(np.float64)
    return exact, np.zeros(len(weight)) if bias is None else bias.astype(np.float64)


def conv_like(
    op: Any, x: ir.Value, convolved: ir.Value, after: ir.Value, weight: np.ndarray, bias: np.ndarray
) -> ir.Value:
    """The convolution with other weights, named after the value that it now gives.

    A bias of zeros is left out where there was none, since some runtimes fuse what has no bias.
    """
    node = producer(convolved)
    old = constant(node, 1)
    assert old is not None
    inputs = [x, op.initializer(ir.tensor(weight.astype(old.dtype)), f"{after.name}.weight")]
    if bias.any() or not absent(node, 2):
        inputs.append(op.initializer(ir.tensor(bias.astype(old.dtype)), f"{after.name}.bias"))
    folded: ir.Value = op.Conv(*inputs, **dict(node.attributes.items()))
    producer(folded).name = node.name
    return folded
