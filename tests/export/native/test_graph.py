"""Native files answer what :func:`native_reference` says, in every type, precision and runtime."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnx.parser
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.native import (
    NativeIO,
    from_bytes,
    make_native,
    native_reference,
    recorded_io,
    to_bytes,
)
from edgesr_export.runtime import session
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS = (
    "uint16",
    "uint16, nodata 0",
    "uint16, nodata 65535",
    "int16, nodata -9999",
    "uint8, nodata 3",
    "float32",
    "float32, nodata NaN",
    "float32, nodata -9999",
    "float32 to uint16",
    "uint16 to float32, nodata 7",
)


def test_all_kinds_are_listed(native):
    assert tuple(native.kinds) == KINDS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("target", "precision"),
    [
        ("cpu", "fp32"),
        ("cpu", "fp16"),
        ("cpu", "int8"),
        ("tensorrt", "fp32"),
        ("tensorrt", "fp16"),
        ("tensorrt", "int8"),
    ],
)
def test_onnx_runtime_answers_what_the_reference_says(
    files, native, tmp_path, target, precision, kind
):
    source, numbers = files(target, precision), native.kinds[kind]
    for seed, size in enumerate([(9, 7), (24, 20)]):
        image = numbers.image(seed, size, count=1 + seed)
        expected = native_reference(image, numbers.io, session(source))
        fused = target == "cpu"
        native.agree(native.answer(source, numbers.io, image, tmp_path, fused=fused), expected)


@pytest.mark.parametrize(
    ("precision", "kind"),
    [*(("fp32", kind) for kind in KINDS), *(("int8", kind) for kind in KINDS[1:4])],
)
def test_openvino_answers_what_the_reference_says(files, native, tmp_path, precision, kind):
    """``fill`` lies between two levels of int8 here: a last bit that differs would be seen."""
    source, numbers = files("openvino", precision), native.kinds[kind]
    from edgesr_export.openvino import openvino_session

    image = numbers.image(3, (24, 20))
    expected = native_reference(image, numbers.io, openvino_session(source))
    native.agree(native.answer(source, numbers.io, image, tmp_path, openvino_session), expected)


@pytest.mark.parametrize("kind", ["uint16, nodata 0", "int16, nodata -9999"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_two_bytes_a_number_are_the_same_numbers(files, native, tmp_path, precision, kind):
    source, numbers = files("tensorrt", precision), native.kinds[kind]
    image = numbers.image(5)
    plain = native.answer(source, numbers.io, image, tmp_path)
    io = replace(numbers.io, as_bytes=True)
    np.testing.assert_array_equal(native.answer(source, io, image, tmp_path), plain)
    made = onnx.load(tmp_path / "native.onnx")
    assert {entry.version for entry in made.opset_import} == {16}
    for value in (made.graph.input[0], made.graph.output[0]):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        assert value.type.tensor_type.shape.dim[4].dim_value == 2


def test_bytes_are_the_same_memory():
    image = np.array([[1, -2, 258]], np.int16)
    as_bytes = to_bytes(image)
    assert as_bytes.tolist() == [[[1, 0], [254, 255], [2, 1]]]
    assert np.shares_memory(as_bytes, image)
    np.testing.assert_array_equal(from_bytes(as_bytes, "int16"), image)


@pytest.mark.parametrize("number", [0, 65535, 300])
@pytest.mark.parametrize("kind", ["uint16", "uint16, nodata 0", "uint16, nodata 65535"])
def test_one_number_everywhere(files, native, tmp_path, kind, number):
    source, numbers = files("cpu"), native.kinds[kind]
    image = np.full((1, 24, 7, 5), number, np.uint16)
    expected = native_reference(image, numbers.io, session(source))
    found = native.answer(source, numbers.io, image, tmp_path, fused=True)
    native.agree(found, expected, least=0.9)  # a band of one number may lie between two integers
    if number == numbers.io.nodata:
        assert (found == number).all()


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_a_file_of_one_size(files, native, tmp_path, target):
    source, numbers = files(target, size=(7, 6)), native.kinds["int16, nodata -9999"]
    image = numbers.image(2, (7, 6))
    expected = native_reference(image, numbers.io, session(source))
    native.agree(native.answer(source, numbers.io, image, tmp_path), expected)


def test_what_saturates(files, native, tmp_path):
    """Answers of a network leave [0, 1] where the sensor's type ends."""
    numbers = native.numbers("uint16", "uint8", lower=[0] * 19, upper=[280] * 19)
    source, image = files("cpu"), numbers.image(0)
    expected = native_reference(image, numbers.io, session(source))
    assert {0, 255} <= set(expected.ravel().tolist())
    native.agree(native.answer(source, numbers.io, image, tmp_path, fused=True), expected)


@pytest.mark.parametrize("kind", ["uint16", "uint16, nodata 0"])
def test_what_moves_is_an_integer(files, native, kind):
    """Every slab is rounded before its shuffle, and nothing passes over the whole image again."""
    model = make_native(onnx.load(files("cpu")), native.kinds[kind].io, fused=True)
    nodes = list(model.graph.node)
    assert Counter(node.op_type for node in nodes)["QuantizeLinear"] == 3
    assert nodes[-1].op_type == "Concat"
    assert nodes[-1].output[0] == model.graph.output[0].name
    first = next(i for i, node in enumerate(nodes) if node.op_type == "QuantizeLinear")
    producers = {name: node for node in nodes for name in node.output}
    for part in nodes[-1].input:
        node = producers[part]
        while node.op_type in ("Reshape", "Transpose"):
            node = producers[node.input[0]]
        assert node.op_type == "QuantizeLinear"
    assert first > 0


def test_without_nodata_there_is_no_mask(files, native):
    model = make_native(onnx.load(files("cpu")), native.kinds["uint16"].io, fused=True)
    assert not {"Where", "Equal", "ReduceMax"} & {node.op_type for node in model.graph.node}


def test_names_and_what_the_file_holds_beside_the_network_stay(files, native):
    source = onnx.load(files("cpu", "fp16"))
    io = native.kinds["int16, nodata -9999"].io
    made = make_native(source, io)
    for ends in ("input", "output"):
        before, after = getattr(source.graph, ends), getattr(made.graph, ends)
        assert [value.name for value in before] == [value.name for value in after]
    kept = {entry.key: entry.value for entry in made.metadata_props}
    assert all(kept[entry.key] == entry.value for entry in source.metadata_props)
    assert recorded_io(made) == io
    assert recorded_io(source) is None


def one_network(body: str, constants: dict[str, np.ndarray] | None = None, opset: int = 20):
    """float32 of 2 bands to x2, from the text of its nodes."""
    text = f"""<ir_version: 10, opset_import: ["" : {opset}]>
        network (float[n, 2, h, w] x) => (float[n, 2, hr, wr] y) {{ {body} }}"""
    model = onnx.parser.parse_model(text)
    for name, array in (constants or {}).items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


REPEAT = "z = Concat <axis = 1> (x, x, x, x) "
FOUR = {"four": np.array([1, 1, 2, 2], np.float32)}
NETWORKS = {
    "blocks first": (f"{REPEAT} y = DepthToSpace <blocksize = 2> (z)", {}),
    "a sum at the end": (
        f"{REPEAT} s = DepthToSpace <blocksize = 2> (z) y = Mul(s, half)",
        {"half": np.array(0.3, np.float32)},
    ),
    "a shuffle by hand": (
        f"""{REPEAT} n = Shape <start = 0, end = 1> (x) p = Shape <start = 2> (x)
        q = Mul(p, two) a = Concat <axis = 0> (n, split, p) b = Reshape(z, a)
        c = Transpose <perm = [0, 3, 4, 1, 5, 2]> (b)
        d = Concat <axis = 0> (n, bands, q) y = Reshape(c, d)""",
        {name: np.array(v) for name, v in (("two", [2, 2]), ("split", [2, 2, 2]), ("bands", [2]))},
    ),
    "pixels that change places": (
        f"""{REPEAT} t = Transpose <perm = [0, 1, 3, 2]> (z) s = DepthToSpace <blocksize = 2> (t)
        y = Transpose <perm = [0, 1, 3, 2]> (s)""",
        {},
    ),
    "nearest": ('y = Resize <mode = "nearest"> (x, , four)', FOUR),
    "float16 to the end": (
        f"""{REPEAT} f = Cast <to = 10> (z) g = Mul(f, f) s = DepthToSpace <blocksize = 2> (g)
        y = Cast <to = 1> (s)""",
        {},
    ),
    "bands that change places": (
        f"""{REPEAT} s = DepthToSpace <blocksize = 2> (z) a = Slice(s, one, two, one)
        b = Slice(s, zero, one, one) y = Concat <axis = 1> (a, b)""",
        {name: np.array([value]) for name, value in (("zero", 0), ("one", 1), ("two", 2))},
    ),
    "read twice": (
        f"{REPEAT} s = DepthToSpace <blocksize = 2> (z) m = Relu(s) y = Add(s, m)",
        {},
    ),
}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("nodata", [None, 4])
def test_networks_of_others(native, tmp_path, name, fused, nodata):
    """Wherever the tail can be placed, or cannot, the answer is the same."""
    body, constants = NETWORKS[name]
    source = tmp_path / "network.onnx"
    onnx.save(one_network(body, constants), source)
    numbers = native.numbers(
        "uint16",
        "uint16",
        nodata,
        lower=(2.1, 100.3),
        upper=(5000, 900),
        fill=(700, 300),
        sensor_bands=5,
        selection=(4, 1),
        scale=2,
    )
    image = np.random.default_rng(0).integers(0, 5200, (2, 5, 6, 8)).astype(np.uint16)
    image[0, 1, 2, 3] = image[1, 3] = 4
    expected = native_reference(image, numbers.io, session(source))
    found = native.answer(source, numbers.io, image, tmp_path, fused=fused)
    native.agree(found, expected)
    blocks = found[0, :, 4:6, 6:8]
    assert (blocks == 4).all() == (nodata == 4)


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_any_numbers_through_a_network_that_only_enlarges(data):
    """Each native number comes back as itself, clipped to its band, or is filled or nodata."""
    dtype = data.draw(st.sampled_from(["uint8", "uint16", "int16"]))
    kind = np.iinfo(dtype)
    number = st.integers(kind.min, kind.max)
    bounds = [sorted(data.draw(st.tuples(number, number))) for _ in range(2)]
    lower, upper = (tuple(bound[end] for bound in bounds) for end in (0, 1))
    upper = tuple(high + (high == low) for low, high in zip(lower, upper, strict=True))
    nodata = data.draw(st.none() | number)
    fill = data.draw(st.tuples(number, number))
    io = NativeIO(lower, upper, 2, None, dtype, dtype, nodata, fill, 2)
    pixels = data.draw(st.lists(number, min_size=12, max_size=12))
    if nodata is not None and data.draw(st.booleans()):
        pixels[3] = nodata
    image = np.array(pixels, dtype).reshape(1, 2, 2, 3)
    model = make_native(one_network('y = Resize <mode = "nearest"> (x, , four)', FOUR), io)
    found = run(model, image)

    bands = np.array([lower, upper]).reshape(2, 2, 1, 1)
    expected = np.clip(image.astype(np.int64), bands[0], bands[1])
    expected = np.clip(expected, kind.min, kind.max)
    if nodata is not None:
        expected[:, :, (image[0] == nodata).any(0)] = nodata
    np.testing.assert_array_equal(found, expected.repeat(2, axis=2).repeat(2, axis=3))


def run(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    opened = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return opened.run(None, {"x": image})[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lower": (0,) * 3, "upper": (1,) * 3, "fill": None}, "x of the network has 2 bands"),
        ({"lower": (0,), "upper": (1,), "fill": None}, "x of the network has 2 bands and the nu"),
    ],
)
def test_a_network_of_other_bands_is_refused(change, message):
    count = len(change["lower"])
    values = {**change, "sensor_bands": count, "selection": None, "nodata": None, "scale": 2}
    io = NativeIO(**values, input_dtype="uint16", output_dtype="uint16")
    with pytest.raises(ExportError, match=message):
        make_native(one_network("y = Relu(x)"), io)


def test_other_networks_are_refused():
    io = NativeIO((0, 0), (1, 1), 2, None, "uint16", "uint16", None, None, 2)
    network = one_network("y = Relu(x)")
    native = make_native(network, io)
    with pytest.raises(ExportError, match="takes native numbers already"):
        make_native(native, io)
    with pytest.raises(ExportError, match="has opset 12 and native numbers need 13"):
        make_native(one_network("y = Relu(x)", opset=12), io)
    network.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    network.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    with pytest.raises(ExportError, match="x of the network is FLOAT16"):
        make_native(network, io)
