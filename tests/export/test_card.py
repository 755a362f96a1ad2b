"""The card comes back from a file as it was put in; damaged ones are refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from edgesr_export.card import (
    FORMAT,
    KEY,
    BandList,
    Limits,
    ModelCard,
    NativeNumbers,
    Port,
    parse_card,
    read_card,
    schema,
    write_card,
)
from edgesr_export.errors import ExportError
from jsonschema import Draft202012Validator
from onnx import TensorProto, helper


def card(**values) -> ModelCard:
    fields = {
        "scale": 4,
        "bands": BandList(index=(1, 3), count=5, wavelengths_nm=(500.0, 520.5)),
        "normalisation": Limits(lower=(0.0, 1.0), upper=(10.0, 11.0)),
        "native": NativeNumbers(
            dtype="uint16", low=(0.0, 1.0), high=(9.0, 9.0), fill=(4.0, 5.0), nodata="nan"
        ),
    }
    return ModelCard(**{**fields, **values})


@pytest.fixture
def path(tmp_path):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [value("x", TensorProto.FLOAT, [1, 2, "h", "w"])],
        [value("y", TensorProto.FLOAT, [1, 2, "h", "w"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"context": 13, "size": (64, None), "precision": "int8", "int8_layers": 50},
        {"context": "global", "student": "a" * 64, "network": "lkca_net", "data": "s"},
        {"input": Port(kind="native", dtype="uint16", bands="sensor", as_bytes=True)},
    ],
)  # fmt: skip
def test_a_card_comes_back_as_it_was_written(path, values):
    assert read_card(path) is None
    written = card(**values)
    write_card(path, card(scale=2))
    write_card(path, written)
    assert read_card(path) == written
    assert np.isnan(read_card(path).nodata)


def test_any_program_finds_it_in_the_metadata(path):
    write_card(path, card())
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    stored = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    assert stored["bands"]["wavelengths_nm"] == [500.0, 520.5]
    Draft202012Validator(schema()).validate(stored)


def damaged(**changes):
    plain = msgspec.to_builtins(card())
    for key, value in changes.items():
        place, _, name = key.rpartition("__")
        target = plain[place] if place else plain
        target[name] = value
    return json.dumps(plain)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", "[" * 100000, "null", '{"format": "1"}', '{"format": 1}',
        damaged(scale=0), damaged(scale=1e9), damaged(scale=True), damaged(scale="4"),
        damaged(further=1), damaged(bands__index=[]), damaged(bands__index=[1, 5]),
        damaged(bands__index=[-1, 1]), damaged(bands__wavelengths_nm=[1.0]),
        damaged(normalisation__lower=[0.0]), damaged(normalisation__upper=[0.0, 11.0]),
        damaged(normalisation__upper=[1e300, 11.0]), damaged(native__dtype="object"),
        damaged(native__fill=[1.0, 2.0, 3.0]), damaged(native__nodata="text"),
        damaged(context="everywhere"), damaged(context=-1), damaged(size=[64]),
        damaged(student="../../etc"), damaged(precision="fp8"), damaged(input={"kind": "x"}),
        damaged(network="x" * 2000), damaged(data=None),
    ],
)  # fmt: skip
def test_a_damaged_card_is_refused_in_one_line(path, text):
    model = onnx.load(path)
    helper.set_model_props(model, {KEY: text})
    onnx.save(model, path)
    with pytest.raises(ExportError, match="has a damaged model card") as error:
        read_card(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_newer_format_asks_for_a_newer_version():
    with pytest.raises(ExportError, match=f"format {FORMAT + 1} .* update edgesr"):
        parse_card(damaged(format=FORMAT + 1, further="x"), "net.onnx")


def test_what_could_not_be_read_again_is_not_written(path):
    endless = NativeNumbers(dtype="float32", low=(np.inf, 0.0), high=(9.0, 9.0), fill=(4.0, 5.0))
    with pytest.raises(ExportError):
        write_card(path, card(native=endless))
    assert read_card(path) is None


def test_the_schema_of_the_documentation_is_that_of_the_type():
    """Else write ``json.dumps(schema(), indent=2)`` there."""
    stored = Path(__file__).parents[2] / "docs" / "card.schema.json"
    assert json.loads(stored.read_text()) == json.loads(json.dumps(schema()))
