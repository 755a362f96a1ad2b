"""Graphs that a target does not take, each with one fault."""

from __future__ import annotations

import numpy as np
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.int8.validate_qdq import validate_qdq
from edgesr_export.targets import find_target

CPU, TENSORRT = (find_target(name).scheme for name in ("cpu", "tensorrt"))

BODY = """
    q = QuantizeLinear(x, s, z)
    d = DequantizeLinear(q, s, z)
    w = DequantizeLinear<axis=0>(k, ks, kz)
    y = Conv(d, w, b)
"""
GOOD = {
    "s": np.float32(0.1),
    "z": np.int8(0),
    "k": np.ones((4, 4, 1, 1), np.int8),
    "ks": np.full(4, 0.1, np.float32),
    "kz": np.zeros(4, np.int8),
    "b": np.zeros(4, np.float32),
}


def test_a_good_graph_passes(parse):
    validate_qdq(parse(BODY, GOOD), {"y"}, TENSORRT)
    validate_qdq(parse(BODY, GOOD | {"z": np.uint8(3)}), {"y"}, CPU)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"z": np.uint8(0)}, "not one of int8"),
        ({"z": np.int8(1)}, "zero point other than 0"),
        ({"s": np.full(4, 0.1, np.float32), "z": np.zeros(4, np.int8)}, "with one scale"),
        ({"s": np.float32(np.nan)}, "scale that is not positive"),
        ({"ks": np.float32(0.1), "kz": np.int8(0)}, "without a scale per channel"),
        ({"kz": np.array([0, 0, 1, 0], np.int8)}, "without a scale per channel"),
        ({"k": np.ones((4, 4, 1, 1), np.uint8), "kz": np.zeros(4, np.uint8)}, "not int8"),
    ],
)
def test_each_fault_is_found(parse, fault, message):
    with pytest.raises(ExportError, match=message):
        validate_qdq(parse(BODY, GOOD | fault), {"y"}, TENSORRT)


def test_a_quantised_bias_is_found(parse):
    body = BODY.replace("y = Conv(d, w, b)", "e = DequantizeLinear<axis=0>(b, ks, bz)\n"
                        "y = Conv(d, w, e)")  # fmt: skip
    int32 = {"b": np.zeros(4, np.int32), "bz": np.zeros(4, np.int32)}
    with pytest.raises(ExportError, match="weights that are not int8"):
        validate_qdq(parse(body, GOOD | int32), {"y"}, TENSORRT)
    int8 = {"b": np.zeros(4, np.int8), "bz": np.zeros(4, np.int8)}
    with pytest.raises(ExportError, match="the bias of y is quantised"):
        validate_qdq(parse(body, GOOD | int8), {"y"}, TENSORRT)


def test_precision_that_was_not_decided_is_found(parse):
    with pytest.raises(ExportError, match="layer y is not in the precision"):
        validate_qdq(parse(BODY, GOOD), set(), TENSORRT)
    with pytest.raises(ExportError, match="layer y is not in the precision"):
        validate_qdq(parse("y = Conv(x, k, b)", GOOD | {"k": np.ones((4, 4, 1, 1), np.float32)}),
              {"y"}, TENSORRT)  # fmt: skip
