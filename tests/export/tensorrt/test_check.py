from __future__ import annotations

import onnx
import onnx.parser
import pytest
from edgesr_export.tensorrt import check
from edgesr_export.tensorrt.refusal import UnsupportedOperatorError

HEAD = """<ir_version: 10, opset_import: ["" : 20]>
    net (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) """


def test_a_network_is_read_by_the_real_parser():
    pytest.importorskip("tensorrt_rtx")
    reader = check.parse(onnx.parser.parse_model(HEAD + "{ y = Relu(x) }"))
    assert reader is not None
    assert reader.startswith("tensorrt")


def test_what_it_does_not_take_is_named():
    pytest.importorskip("tensorrt_rtx")
    model = onnx.parser.parse_model(HEAD + "{ y = Bernoulli(x) }")
    model.graph.node[0].name = "toss"
    with pytest.raises(UnsupportedOperatorError, match=r"layer toss \(Bernoulli\)"):
        check.parse(model)


def test_its_absence_is_no_answer(monkeypatch):
    monkeypatch.setattr(check, "available", lambda: [])
    assert check.parse(onnx.parser.parse_model(HEAD + "{ y = Relu(x) }")) is None
