"""Reports in the forms that several versions write; shortened from real ones."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from edgesr_export.errors import ExportError
from edgesr_export.tensorrt.api import Api
from edgesr_export.tensorrt.inspector import (
    EngineLayer,
    PrecisionError,
    layers_of_engine,
    obtained,
    parse_inspector,
    parse_report,
    verify,
)

TENSOR_8 = "Channel major FP16 format where channel % 8 == 0"


def layer_json(name, kind, types, key="Format/Datatype", metadata=""):
    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": [{"Name": "x", "Dimensions": [1, 3, 8, 8], key: t} for t in types],
        "Outputs": [{"Name": "y", "Dimensions": [1, 3, 8, 8], key: types[0]}],
        "Metadata": metadata,
    }


@pytest.mark.parametrize(
    ("written", "precision"),
    [
        ("Row major linear FP32", "fp32"),
        (TENSOR_8, "fp16"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("Half", "fp16"),
        ("Float", "fp32"),
        ("BFloat16", "bf16"),
        ("Int64", None),
        ("N/A due to dynamic shapes", None),
    ],
)
@pytest.mark.parametrize("key", ["Format/Datatype", "Datatype"])
def test_the_type_of_a_tensor_is_read_however_it_is_written(written, precision, key):
    text = json.dumps({"Layers": [layer_json("a", "CaskConvolution", [written], key)]})
    (layer,) = parse_inspector(text)
    assert layer.precision == precision


def test_nodes_come_from_the_metadata_or_else_from_the_name():
    layers = [
        layer_json(
            "fused", "gemm", ["Half"], metadata="[ONNX Layer: /a/MatMul]\x1f[ONNX Layer: b]"
        ),
        layer_json("/conv/Conv + /relu/Relu", "CaskConvolution", ["Half"]),
        layer_json("{ForeignNode[c...d]}", "Myelin", ["Half"]),
    ]
    found = parse_inspector(json.dumps({"Layers": layers}))
    assert [layer.nodes for layer in found] == [
        ("/a/MatMul", "b"),
        ("/conv/Conv", "/relu/Relu"),
        (),
    ]
    assert [layer.opaque for layer in found] == [False, False, True]


def test_a_loaded_engine_is_asked_for_json():
    text = json.dumps({"Layers": [layer_json("a", "gemm", ["Half"])]})
    information = {"json": text, "line": "a, gemm"}
    inspector = SimpleNamespace(get_engine_information=information.__getitem__)
    engine = SimpleNamespace(create_engine_inspector=lambda: inspector)
    module = SimpleNamespace(LayerInformationFormat=SimpleNamespace(JSON="json", ONELINE="line"))
    assert [layer.precision for layer in layers_of_engine(Api(module), engine)] == ["fp16"]


def test_an_engine_that_holds_names_alone_proves_nothing():
    with pytest.raises(ExportError, match="names of its layers alone"):
        parse_inspector('{"Layers": ["conv + relu"], "Bindings": ["x", "y"]}')


def tensor(name, kind):
    return (
        f"{{ Name: {name}, Dimensions: [-1,32,-1,-1], Strides: [-1,1,-1,32], StrideOrder: "
        f"[3,0,2,1], Datatype: {kind}, Format: (NHWC) Channel major format }}"
    )


@pytest.mark.parametrize("constants", ["", f"Constants: [ {tensor('w', 'Float')}], "])
def test_the_report_of_the_builder_is_read_line_by_line(constants):
    text = (
        "Layers:\n"
        f"Name: call, LayerType: shape_call, Inputs: [], {'Constants: [], ' if constants else ''}"
        "Outputs: [], TacticName: , StreamId: 0, Metadata: \n"
        f"Name: conv_7, LayerType: correlation, Inputs: [ {tensor('a', 'Int8')}, "
        f"{tensor('b', 'Half')}], {constants}Outputs: [ {tensor('c', 'Float')}], "
        "TacticName: , StreamId: 0, Metadata: [ONNX Layer: Conv_3][ONNX Layer: Relu_4]\n"
        "Name: [ShapeHostToDeviceCopy 0], LayerType: ShapeHostToDevice, Inputs: [], Outputs: [ "
        f"{tensor('n', 'Int64')}], ParameterType: ShapeH2D, shapeValues0: [-11], "
        "TacticValue: 0x0000000000000000, StreamId: 0, Metadata: \n"
        "\nI/O Tensors:\n Name: input, IOMode: Input, DataType: Float\n"
    )
    assert parse_report(text) == [
        EngineLayer("call", "shape_call", (), (), ()),
        EngineLayer("conv_7", "correlation", ("int8", "fp16"), ("fp32",), ("Conv_3", "Relu_4")),
        EngineLayer("[ShapeHostToDeviceCopy 0]", "ShapeHostToDevice", (), ("int64",), ()),
    ]  # fmt: skip


def test_a_report_that_is_not_understood_is_an_error_and_no_proof():
    with pytest.raises(ExportError, match="not understood: Name: a, LayerType: b, something"):
        parse_report("Layers:\nName: a, LayerType: b, something new")


def made(kind, precision, *nodes):
    return EngineLayer(f"{kind}_{nodes}", kind, (precision,), ("fp16",), nodes)


def test_the_layer_with_the_arithmetic_decides():
    layers = [
        made("kgen", "fp32", "conv"),  # brings the data into another layout
        made("correlation", "fp16", "conv"),
        made("kgen", "fp16", "attention"),
    ]
    assert obtained(layers, ["conv", "attention", "gone"]) == {
        "conv": "fp16",
        "attention": "fp16",
        "gone": None,
    }


@pytest.mark.parametrize(("asked", "got"), [("fp16", "fp32"), ("fp32", "fp16")])
def test_another_precision_is_an_error_that_names_the_layer(asked, got):
    with pytest.raises(PrecisionError, match=rf"1 of 2 layers .*\(b {got} for {asked}\)"):
        verify(
            {"a": asked, "b": asked},
            [made("gemm", asked, "a"), made("gemm", got, "b")],
        )


def test_int8_layers_may_be_left_in_float_but_not_all_of_them():
    asked = {"a": "int8", "b": "int8", "c": "fp32"}
    rest = made("gemm", "fp16", "b"), made("gemm", "fp32", "c")
    assert verify(asked, [made("gemm", "int8", "a"), *rest]) == {
        "a": "int8",
        "b": "fp16",
        "c": "fp32",
    }
    with pytest.raises(
        PrecisionError, match=r"2 of 3 layers .*\(a fp32 for int8, b fp16 for int8\)"
    ):
        verify(asked, [made("gemm", "fp32", "a"), *rest])
    with pytest.raises(PrecisionError, match=r"1 of 3 layers .*\(c fp16 for fp32\)"):
        verify(asked, [made("gemm", "int8", "a"), rest[0], made("gemm", "fp16", "c")])


def test_a_layer_that_cannot_be_accounted_for_is_an_error():
    with pytest.raises(PrecisionError, match=r"1 of 2 layers do not appear .* such as b"):
        verify({"a": "fp16", "b": "fp16"}, [made("gemm", "fp16", "a")])
    with pytest.raises(PrecisionError, match="cannot be read back"):
        verify({"a": "fp16"}, [])


def test_a_region_that_is_closed_leaves_its_layers_unknown_and_says_so():
    closed = EngineLayer("{ForeignNode[a...b]}", "Myelin", ("fp16",), ("fp16",), ())
    assert verify({"a": "fp16", "c": "fp16"}, [closed, made("gemm", "fp16", "c")]) == {
        "a": None,
        "c": "fp16",
    }
