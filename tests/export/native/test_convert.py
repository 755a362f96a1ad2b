"""Native files are written only where they answer what their numbers mean."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import onnx.parser
import pytest
from edgesr_export.chain import recorded_links
from edgesr_export.errors import ExportError
from edgesr_export.native import convert, convert_native, make_native, recorded_io
from edgesr_export.runtime import session
from edgesr_export.tensorrt import Settings, available, build

KIND = "int16, nodata -9999"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_link_is_added_to_the_chain(files, native, tmp_path, precision):
    source, numbers = files("cpu", precision), native.kinds[KIND]
    tiles = [numbers.image(1), numbers.image(2, (6, 7), count=2)]
    chain = convert_native(
        source, tmp_path / "out.onnx", numbers.io, target="cpu", tiles_native=tiles
    )
    assert (chain.precision, chain.target) == (precision, "cpu")
    *before, link = chain.links
    assert before == recorded_links(source)
    assert link.name == "native numbers"
    assert link.images == 9 + 2 + 2 + 2  # probes, least and largest, nodata, tiles
    assert link.difference <= 1
    assert link.equal >= 0.999
    assert recorded_links(chain.path) == list(chain.links)
    assert recorded_io(onnx.load(chain.path)) == numbers.io
    assert "of the values equal" in chain.summary()


def test_openvino_is_asked_too(files, native, tmp_path):
    source = files("openvino")
    chain = convert_native(source, tmp_path / "out.onnx", native.kinds[KIND].io, target="openvino")
    assert [link.name for link in chain.links[-2:]] == [
        "native numbers",
        "native numbers, OpenVINO",
    ]
    assert {node.domain for node in onnx.load(chain.path).graph.node} == {""}


def test_for_tensorrt_numbers_are_two_bytes(files, native, tmp_path):
    io = native.kinds[KIND].io
    chain = convert_native(files("tensorrt", "fp16"), tmp_path / "out.onnx", io, target="tensorrt")
    assert recorded_io(onnx.load(chain.path)) == replace(io, as_bytes=True)
    assert ("reads the file" in chain.notes[0]) == bool(available())


def test_real_numbers_are_compared_in_steps_of_a_band(files, native, tmp_path):
    io = native.kinds["float32, nodata NaN"].io
    chain = convert_native(files("cpu"), tmp_path / "out.onnx", io, target="cpu")
    assert chain.links[-1].difference < 0.1
    assert chain.links[-1].equal == 1


@pytest.mark.parametrize(
    ("operator", "change", "message"),
    [
        ("Sub", 60, r"steps from the reference on .*; nothing was written"),
        ("Add", 0.5, r"of the values equal, where 1 and 99.9% are needed; nothing was written"),
    ],
)
def test_another_answer_is_refused_and_nothing_written(
    files, native, tmp_path, monkeypatch, operator, change, message
):
    """Of lower bounds that are wrong at the inlet, and of half a number more at the outlet."""

    def wrong(model, io, *, fused):
        made = make_native(model, io, fused=fused)
        chosen = [node for node in made.graph.node if node.name.startswith(f"native.{operator}_")]
        for tensor in made.graph.initializer:
            if tensor.name in [name for node in chosen for name in node.input]:
                moved = onnx.numpy_helper.to_array(tensor) + np.float32(change)
                tensor.CopyFrom(onnx.numpy_helper.from_array(moved, tensor.name))
        return made

    monkeypatch.setattr(convert, "make_native", wrong)
    with pytest.raises(ExportError, match=message):
        convert_native(files("cpu"), tmp_path / "out.onnx", native.kinds["uint16"].io, target="cpu")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_unasked(files, native, tmp_path):
    io, there = native.kinds["uint16"].io, tmp_path / "there.onnx"
    there.write_text("mine")
    with pytest.raises(ExportError, match="exists; pass --overwrite"):
        convert_native(files("cpu"), there, io, target="cpu")
    assert there.read_text() == "mine"
    convert_native(files("cpu"), there, io, target="cpu", overwrite=True)
    with pytest.raises(ExportError, match="takes native numbers already"):
        convert_native(there, tmp_path / "twice.onnx", io, target="cpu")
    with pytest.raises(ExportError, match="is no folder"):
        convert_native(files("cpu"), tmp_path / "no" / "out.onnx", io, target="cpu")


def test_tiles_of_other_numbers_are_refused(files, native, tmp_path):
    io = native.kinds["uint16"].io
    with pytest.raises(ExportError, match=r"tile 0 is float64 \[1, 24, 5, 5\]; uint16"):
        convert_native(
            files("cpu"),
            tmp_path / "out.onnx",
            io,
            target="cpu",
            tiles_native=[np.zeros((1, 24, 5, 5))],
        )


def test_images_that_the_network_fails_on_itself_are_listed(native, tmp_path):
    """y = x / x is no number where a band is at its least or below."""
    text = """<ir_version: 10, opset_import: ["" : 20]>
        network (float[n, 2, h, w] x) => (float[n, 2, h, w] y) { y = Div(x, x) }"""
    source = tmp_path / "ratio.onnx"
    onnx.save(onnx.parser.parse_model(text), source)
    bounds = {"lower": (1, 2), "upper": (101, 102), "sensor_bands": 2, "selection": (0, 1)}
    io = native.numbers("uint16", "uint16", **bounds, fill=None, scale=1).io
    chain = convert_native(source, tmp_path / "out.onnx", io, target="cpu")
    skipped = chain.links[-1].skipped
    assert skipped["zeros"] == "the file itself gives values that are not finite"
    assert "ones" not in skipped
    assert chain.links[-1].images > 0


def test_a_wrong_scale_is_told(files, native, tmp_path):
    io = replace(native.kinds["uint16"].io, scale=2)
    with pytest.raises(ExportError, match="does not enlarge 19 bands 2 times"):
        convert_native(files("cpu"), tmp_path / "out.onnx", io, target="cpu")


@pytest.mark.parametrize("target", ["cpu", "openvino"])
def test_a_file_of_integers_takes_no_others(files, native, tmp_path, target):
    source, io = files(target), native.kinds["uint16"].io
    made = tmp_path / "native.onnx"
    onnx.save(make_native(onnx.load(source), io), made)
    if target == "cpu":
        run = session(made)
    else:
        from edgesr_export.openvino import openvino_session as run_openvino

        run = run_openvino(made)
    with pytest.raises(ExportError, match="takes uint16 and was given float32"):
        run(np.zeros((1, 24, 5, 5), np.float32))
    assert run(np.zeros((1, 24, 5, 5), np.uint16)).dtype == np.uint16


@pytest.mark.skipif("tensorrt_rtx" not in available(), reason="needs tensorrt_rtx")
@pytest.mark.parametrize(
    ("precision", "capability", "kind"),
    [
        ("fp32", "8.6", "uint16, nodata 0"),
        ("fp16", "8.9", "int16, nodata -9999"),
        ("int8", "8.6", "float32 to uint16"),
    ],
)
def test_an_engine_is_built_for_real(files, native, tmp_path, precision, capability, kind):
    """It keeps its precision, warns of nothing, and takes tiles of many sizes."""
    made = tmp_path / "native.onnx"
    convert_native(files("tensorrt", precision), made, native.kinds[kind].io, target="tensorrt")
    side = build(
        made,
        tmp_path / "native.engine",
        expect=precision,
        compute_capability=capability,
        settings=Settings(progress=False),
    ).side
    assert all(side.warnings.values())
    assert side.compute_capability == capability
    (served,) = side.profile.values()
    pair = [] if kind.startswith("float32") else [2]
    assert served[1] == [1, 24, 64, 64, *pair]
    assert json.loads(side.to_json())["expect"] == precision
