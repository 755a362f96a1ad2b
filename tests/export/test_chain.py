from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from edgesr_export import chain
from edgesr_export.chain import convert, recorded_links
from edgesr_export.errors import ExportError
from edgesr_export.fp16 import kept_in_float32
from edgesr_export.onnx import export_onnx
from edgesr_export.runtime import session
from edgesr_export.sizes import input_shape
from edgesr_export.tracing import tracing
from edgesr_export.unsupported import UnsupportedOperatorError

IMAGE = np.random.default_rng(0).random((1, 5, 10, 6), dtype=np.float32)


@pytest.fixture(scope="module")
def naive(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("naive") / "naive.onnx"
    return export_onnx(tiny, torch.rand(1, 5, 8, 8), path, rewrite=False)


@pytest.fixture(scope="module")
def foreign(tiny, tmp_path_factory):
    """As from another exporter: no shapes inside, constants as nodes, another input name."""
    path = tmp_path_factory.mktemp("foreign") / "foreign.onnx"
    export_onnx(tiny, torch.rand(1, 5, 8, 8), path, rewrite=False)
    model = onnx.load(path)
    del model.graph.value_info[:]
    del model.metadata_props[:]
    for tensor in list(model.graph.initializer)[:3]:
        node = onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)
        model.graph.node.insert(0, node)
        model.graph.initializer.remove(tensor)
    for node in model.graph.node:
        node.input[:] = ["cube" if name == "input" else name for name in node.input]
    model.graph.input[0].name = "cube"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("target", ["cpu", "tensorrt", "openvino"])
def test_a_foreign_file_comes_out_the_same_function(foreign, tmp_path, target):
    if target == "openvino":
        pytest.importorskip("openvino")
    result = convert(foreign, tmp_path / "out.onnx", target=target)
    assert any("bicubic" in sentence for sentence in result.rewrites)
    np.testing.assert_allclose(session(result.path)(IMAGE), session(foreign)(IMAGE), atol=1e-5)
    assert "Resize" not in {node.op_type for node in onnx.load(result.path).graph.node}
    expected = ["exact rewrites", "OpenVINO"] if target == "openvino" else ["exact rewrites"]
    assert [link.name for link in result.links] == expected
    assert all(link.images == 9 and link.difference <= link.tolerance for link in result.links)


def test_the_links_stand_in_the_file(naive, tmp_path):
    result = convert(naive, tmp_path / "out.onnx", target="cpu", precision="fp16")
    assert [link.name for link in result.links] == ["exact rewrites", "float16"]
    assert recorded_links(result.path) == list(result.links)
    assert recorded_links(naive) == []
    assert 1e-6 < result.links[1].difference < 2e-3
    assert kept_in_float32(result.path) == result.kept != {}
    for word in ("exact rewrites: largest difference", "float32 in", "fp16 for cpu"):
        assert word in result.summary()


def test_tiles_are_compared_too(naive, tmp_path):
    tiles = [IMAGE, IMAGE[:, :, :4]]
    result = convert(naive, tmp_path / "out.onnx", target="cpu", tiles=tiles)
    assert result.links[0].images == 11


def test_a_link_beyond_its_tolerance_fails_and_writes_nothing(naive, tmp_path, monkeypatch):
    def wrong(model, rules):
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        weight = next(t for t in changed.graph.initializer if "head.weight" in t.name)
        values = onnx.numpy_helper.to_array(weight) * np.float32(1.01)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        return changed, []

    monkeypatch.setattr(chain, "rewrite", wrong)
    with pytest.raises(ExportError, match=r"exact rewrites moves the output by .* more than 1e-04"):
        convert(naive, tmp_path / "out.onnx", target="cpu")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_one_size_is_compared_at_that_size(tiny, tmp_path):
    source = tmp_path / "fixed.onnx"
    export_onnx(tiny, torch.rand(1, 5, 6, 8), source, rewrite=False, dynamic=False)
    result = convert(source, tmp_path / "out.onnx", target="cpu")
    assert result.links[0].images == 6


def test_a_file_of_any_size_is_written_for_one(naive, tmp_path):
    result = convert(naive, tmp_path / "out.onnx", target="cpu", precision="fp16", size=(6, 9))
    assert (input_shape(naive), input_shape(result.path)) == (
        (None, 5, None, None),
        (None, 5, 6, 9),
    )
    sides = [
        axis.dim_value for axis in onnx.load(result.path).graph.output[0].type.tensor_type.shape.dim
    ]
    image = np.random.default_rng(2).random((2, 5, 6, 9), dtype=np.float32)
    answer = session(result.path)(image)
    assert sides[2:] == [*answer.shape[2:]]
    np.testing.assert_allclose(answer, session(naive)(image), atol=1e-2)
    assert (tracing(naive).free, tracing(result.path).free) == (
        ("batch", "height", "width"),
        ("batch",),
    )


def test_sizes_that_the_given_file_refuses_itself_are_listed(tmp_path):
    """y = x cut into 2 x 2 blocks and put together again, which odd sizes do not allow."""
    source = tmp_path / "even.onnx"
    text = """<ir_version: 10, opset_import: ["" : 20]>
        even (float[n, 3, h, w] x) => (float[n, 3, h, w] y) {
            b = SpaceToDepth <blocksize = 2> (x)
            y = DepthToSpace <blocksize = 2> (b)
        }"""
    onnx.save(onnx.parser.parse_model(text), source)
    result = convert(source, tmp_path / "out.onnx", target="cpu")
    assert set(result.links[0].skipped) == {"noise 7 x 5", "noise 13 x 9"}
    assert "not compared on noise 7 x 5" in result.summary()


def test_int8_takes_the_quantiser_between_the_rewrites(naive, tmp_path):
    seen = []

    def quantise(source, path, target):
        seen.append(target)
        model = onnx.load(source)
        assert "Resize" not in {node.op_type for node in model.graph.node}
        onnx.helper.set_model_props(model, {"quantised": "yes"})
        onnx.save(model, path)

    result = convert(
        naive, tmp_path / "out.onnx", target="cpu", precision="int8", quantise=quantise
    )
    assert seen == ["cpu"]
    assert [link.name for link in result.links][:2] == ["exact rewrites", "int8"]
    assert result.links[1].tolerance is None
    stored = {entry.key: entry.value for entry in onnx.load(result.path).metadata_props}
    assert stored["quantised"] == "yes"
    assert len(json.loads(stored["links"])) == len(result.links)


@pytest.mark.parametrize("target", ["cpu", "tensorrt", "openvino"])
def test_the_quantiser_is_asked_for_the_target_itself(naive, tmp_path, target):
    """Each has its own scheme; the rewrites of the target come after, for they rename layers."""
    pytest.importorskip("openvino" if target == "openvino" else "numpy")
    seen = []

    def quantise(source, path, wanted):
        seen.append(wanted)
        model = onnx.load(source)
        assert "DepthToSpace" in {node.op_type for node in model.graph.node}
        onnx.save(model, path)

    out = tmp_path / "out.onnx"
    result = convert(naive, out, target=target, precision="int8", quantise=quantise)
    assert seen == [target]
    operators = {node.op_type for node in onnx.load(out).graph.node}
    assert ("DepthToSpace" in operators) == (target == "tensorrt")
    assert any("slabs" in sentence for sentence in result.rewrites) == (target != "tensorrt")


def test_int8_that_gains_nothing_is_told(naive, tmp_path):
    with pytest.raises(ExportError, match=r"no layer .* gains by int8"):
        convert(
            naive,
            tmp_path / "out.onnx",
            target="cpu",
            precision="int8",
            quantise=lambda source, path, target: None,
        )


def test_an_operator_that_nobody_has_is_named(write_operator, tmp_path):
    source = write_operator("Relu(x)", tmp_path / "own.onnx")
    model = onnx.load(source)
    model.opset_import.append(onnx.helper.make_opsetid("my.own", 1))
    model.graph.node[0].domain, model.graph.node[0].op_type = "my.own", "Sharpen"
    model.graph.node[0].name = "last"
    onnx.save(model, source)
    with pytest.raises(UnsupportedOperatorError, match=r"layer last \(my.own.Sharpen\)") as caught:
        convert(source, tmp_path / "out.onnx", target="cpu")
    assert (caught.value.layer, caught.value.operator) == ("last", "my.own.Sharpen")


@pytest.fixture
def resize(tmp_path):
    """Writes a network that only resizes."""

    def written(factor, antialias=1):
        text = f"""<ir_version: 10, opset_import: ["" : 20]>
            resize (float[n, 3, h, w] x) => (float[n, 3, hr, wr] y)
            <float[4] s = {{1, 1, {factor}, {factor}}}>
            {{ y = Resize <mode = "cubic", antialias = {antialias}> (x, , s) }}"""
        model = onnx.parser.parse_model(text)
        model.graph.node[0].name = "shrink"
        onnx.save(model, tmp_path / "resize.onnx")
        return tmp_path / "resize.onnx"

    return written


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("tensorrt", r"TensorRT does not take layer shrink \(Resize with antialias=1\)"),
        ("openvino", r"OpenVINO leaves the filter out of layer shrink \(Resize with antialias=1\)"),
    ],
)
def test_antialiasing_is_refused_where_the_target_cannot_do_it(resize, tmp_path, target, words):
    """Whether or not the target is installed here, and before any work."""
    with pytest.raises(UnsupportedOperatorError, match=f"{words}; use --target cpu") as caught:
        convert(resize(0.5), tmp_path / "out.onnx", target=target)
    assert (caught.value.layer, caught.value.operator) == ("shrink", "Resize")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.onnx").exists()


def test_antialiasing_stays_as_it_is_where_the_target_can_do_it(resize, tmp_path):
    source = resize(0.5)
    result = convert(source, tmp_path / "out.onnx", target="cpu")
    np.testing.assert_array_equal(session(result.path)(IMAGE[:, :3]), session(source)(IMAGE[:, :3]))
    assert [node.op_type for node in onnx.load(result.path).graph.node] == ["Resize"]


def test_the_refusal_for_openvino_is_right(resize):
    """It shrinks without the filter and says nothing; enlarging needs none."""
    openvino = pytest.importorskip("edgesr_export.openvino")
    pytest.importorskip("openvino")
    for factor, least, most in ((0.5, 0.05, 1.0), (2, 0.0, 1e-5)):
        source = resize(factor)
        difference = openvino.openvino_session(source)(IMAGE[:, :3]) - session(source)(IMAGE[:, :3])
        assert least <= np.abs(difference).max() < most


def test_enlarging_needs_no_filter(resize, tmp_path):
    pytest.importorskip("openvino")
    convert(resize(2), tmp_path / "out.onnx", target="openvino")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "tpu"}, "a target is one of cpu, openvino, tensorrt, got 'tpu'"),
        ({"precision": "fp8"}, "a precision is one of fp32, fp16, int8, got 'fp8'"),
        ({"precision": "int8"}, "int8 needs calibration tiles"),
    ],
)
def test_bad_options_are_refused(naive, tmp_path, options, message):
    with pytest.raises(ExportError, match=message):
        convert(naive, tmp_path / "out.onnx", **{"target": "cpu", **options})


def test_files_in_the_way_or_without_a_folder_are_refused(naive, tmp_path):
    there = tmp_path / "there.onnx"
    there.write_text("mine")
    with pytest.raises(ExportError, match="exists; pass --overwrite"):
        convert(naive, there, target="cpu")
    assert there.read_text() == "mine"
    convert(naive, there, target="cpu", overwrite=True)
    assert recorded_links(there)
    with pytest.raises(ExportError, match="is no folder"):
        convert(naive, tmp_path / "no" / "out.onnx", target="cpu")


def test_networks_of_several_inputs_are_refused(tmp_path):
    source = tmp_path / "two.onnx"
    text = """<ir_version: 10, opset_import: ["" : 20]>
        two (float[n, 3, h, w] x, float[n, 3, h, w] z) => (float[n, 3, h, w] y) { y = Add(x, z) }"""
    onnx.save(onnx.parser.parse_model(text), source)
    with pytest.raises(ExportError, match="2 inputs and 1 outputs"):
        convert(source, tmp_path / "out.onnx", target="cpu")


@pytest.mark.parametrize(
    ("location", "message"),
    [("../weights.bin", "outside its folder"), ("weights.bin", "does not exist")],
)
def test_weights_that_are_not_beside_the_file_are_refused(naive, tmp_path, location, message):
    folder = tmp_path / "net"
    folder.mkdir()
    model = onnx.load(naive)
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match=message):
        convert(folder / "net.onnx", tmp_path / "out.onnx", target="cpu")
    assert not (tmp_path / "out.onnx").exists()
