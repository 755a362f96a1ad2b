"""MACs and bytes of an ONNX file, against closed forms."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.work import Work
from onnx import numpy_helper

HEIGHT, WIDTH = 6, 5
PIXELS = HEIGHT * WIDTH


@pytest.fixture
def write(tmp_path):
    """Writes a network of one input [n, 4, h, w] from the text of its nodes."""

    def written(body, weights, kind="float", result="float[n, c, hh, ww]"):
        text = f"""<ir_version: 10, opset_import: ["" : 20]>
        net ({kind}[n, 4, h, w] x) => ({result} y) {{ {body} }}"""
        model = onnx.parser.parse_model(text)
        for name, array in weights.items():
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        onnx.save(model, tmp_path / "net.onnx")
        return tmp_path / "net.onnx"

    return written


def ones(*shape, kind=np.float32):
    return np.ones(shape, kind)


def layers(path, shape=(1, 4, HEIGHT, WIDTH)):
    return {layer.layer: layer for layer in Work(path, shape).layers()}


def test_a_convolution_and_what_is_computed_with_it(write):
    path = write("c = Conv<pads = [1, 1, 1, 1], group = 2>(x, w, b) y = Relu(c)",
                 {"w": ones(6, 2, 3, 3), "b": ones(6)})  # fmt: skip
    (found,) = layers(path).values()
    assert found.nodes == ("c", "y")
    assert found.macs == PIXELS * 6 * 2 * 9
    assert found.bytes == 4 * (4 * PIXELS + 6 * 2 * 9 + 6 + 6 * PIXELS)  # c stays where it is
    assert found.precision == "fp32"


@pytest.mark.parametrize(
    ("body", "weight", "macs"),
    [
        ("y = ConvTranspose<strides = [2, 2]>(x, w)", ones(4, 3, 2, 2), PIXELS * 4 * 3 * 4),
        ("y = MatMul(x, w)", ones(WIDTH, 7), 4 * HEIGHT * WIDTH * 7),
        (
            "f = Flatten<axis = 3>(x) y = Gemm<transA = 1>(f, w)",
            ones(4 * HEIGHT, 3),
            WIDTH * 4 * HEIGHT * 3,
        ),
        ("y = Add(x, w)", ones(1, 4, 1, 1), 0),
    ],
)
def test_products(write, body, weight, macs):
    gemm = "Gemm" in body
    path = write(body, {"w": weight}, result="float[a, b]" if gemm else "float[n, c, hh, ww]")
    assert sum(layer.macs for layer in layers(path).values()) == macs


def test_half_precision_moves_half_the_bytes(write):
    half = np.float16
    path = write("y = Conv(x, w)", {"w": ones(6, 4, 1, 1, kind=half)},
                 "float16", "float16[n, c, hh, ww]")  # fmt: skip
    (found,) = layers(path).values()
    assert found.precision == "fp16"
    assert found.bytes == 2 * (4 * PIXELS + 24 + 6 * PIXELS)


def test_between_pairs_numbers_move_as_8_bits(write):
    """Q -> DQ -> Conv(int8 weights) -> Q -> DQ -> DepthToSpace."""
    weights = {
        "w": ones(8, 4, 1, 1, kind=np.int8), "s": np.float32(0.1), "z": np.int8(0),
    }  # fmt: skip
    path = write(
        """xq = QuantizeLinear(x, s, z) xd = DequantizeLinear(xq, s, z)
        wd = DequantizeLinear(w, s, z) c = Conv(xd, wd)
        cq = QuantizeLinear(c, s, z) cd = DequantizeLinear(cq, s, z)
        y = DepthToSpace<blocksize = 2>(cd)""",
        weights,
    )
    found = layers(path)
    assert found.keys() == {"c", "y"}
    assert found["c"].precision == "int8"
    assert found["c"].bytes == 4 * PIXELS + 32 + 8 * PIXELS
    assert found["y"].bytes == 8 * PIXELS + 4 * 8 * PIXELS


def test_shapes_and_indices_are_no_work(write):
    path = write("s = Shape(x) r = Reshape(x, s) y = Identity(r)", {})
    assert layers(path) == {}


def test_layers_that_a_runtime_names_are_put_together(write):
    path = write("c = Conv(x, w) y = Tanh(c)", {"w": ones(4, 4, 1, 1)})
    work = Work(path, (1, 4, HEIGHT, WIDTH))
    both = work.layer("fused", ["c", "y"])
    assert both.bytes == 4 * (4 * PIXELS + 16 + 4 * PIXELS)
    alone = work.layer("y", ["y"])
    assert alone.bytes == 4 * 8 * PIXELS
    assert work.layer("ReorderInput", []).bytes == 0


def test_a_batch_counts_every_image(write):
    path = write("y = Conv(x, w)", {"w": ones(6, 4, 1, 1)})
    assert layers(path, (3, 4, HEIGHT, WIDTH))["y"].macs == 3 * PIXELS * 24


def test_files_that_cannot_be_told(write, tmp_path):
    path = write("y = Conv(x, w)", {"w": ones(6, 4, 1, 1)})
    with pytest.raises(ExportError, match=r"another size than \[1, 5, 6, 5\]"):
        Work(path, (1, 5, HEIGHT, WIDTH))
    with pytest.raises(ExportError, match="does not take one image"):
        Work(path, (4, HEIGHT, WIDTH))
    with pytest.raises(ExportError, match=r"none\.onnx"):
        Work(tmp_path / "none.onnx", (1, 4, HEIGHT, WIDTH))
    loose = write("n = NonZero(x) f = Cast<to = 1>(n) y = Unsqueeze(f, a)",
                  {"a": np.array([0, 1])})  # fmt: skip
    with pytest.raises(ExportError, match=r"shape of tensor \w+ depends on the data"):
        Work(loose, (1, 4, HEIGHT, WIDTH))
    model = onnx.load(write("y = Conv(x, w)", {"w": ones(6, 4, 1, 1)}))
    model.graph.node[0].domain = "com.acme"
    model.opset_import.append(onnx.helper.make_opsetid("com.acme", 1))
    onnx.save(model, path)
    with pytest.raises(ExportError, match=r"shape of tensor y \(Conv\) cannot be told"):
        Work(path, (1, 4, HEIGHT, WIDTH))
