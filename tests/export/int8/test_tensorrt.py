"""TensorRT's own builder is the truth for its scheme; it needs no GPU for it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgesr_export.fp16 import to_fp16
from edgesr_export.int8 import Quality, quantize
from edgesr_export.tensorrt import Settings, available, build

pytestmark = pytest.mark.usefixtures("nncf")

PROFILE = {"input": ((1, 6, 8, 8), (1, 6, 16, 16), (2, 6, 32, 32))}
RNG = np.random.default_rng(0)
ANYTHING_GOES = Quality(lambda _: {"mpsnr": 30.0, "sam": 1.0}, 1, 1)


@pytest.fixture(autouse=True)
def _rtx():
    if importlib.util.find_spec("tensorrt_rtx") is None or "tensorrt_rtx" not in available():
        pytest.skip("tensorrt_rtx is not here: install the extra 'tensorrt' (Linux x86-64 only)")


def obtained(path: Path, capability: str = "8.6", profile=None) -> dict[str, str]:
    """What the engine of a file computes each layer in."""
    side = build(
        path, path.with_suffix(".engine"), expect="int8", compute_capability=capability,
        profile=profile, settings=Settings(progress=False),
    ).side  # fmt: skip
    return {name: both["obtained"] for name, both in side.precision.items()}


@pytest.mark.parametrize("rest", ["fp32", "fp16"])
def test_an_int8_engine_is_built_of_it(network, tiles, evaluate, tmp_path, rest):
    path = tmp_path / "int8.onnx"
    result = quantize(network, path, tiles, target="tensorrt", quality=Quality(evaluate, 1, 1))
    if rest == "fp16":
        path = to_fp16(path, tmp_path / "int8_fp16.onnx").path
    found = obtained(path, profile=PROFILE)
    assert {name for name, kind in found.items() if kind == "int8"} == set(result.quantised)
    assert sorted(found.values()) == [rest, *["int8"] * 4]


def upsampling(parse, path: Path, kernel: int, groups: int, rank: int, more: str) -> Path:
    """conv, ConvTranspose to 16 channels (from a rank, with a 1 x 1 conv behind), conv."""
    width = rank or 16
    weights = {
        "a": (16, 4, 3, 3),
        "u": (16, width // groups, kernel, kernel),
        "v": (16, width, 1, 1),
        "b": (4, 16, 3, 3),
    }
    model = parse(
        f"""h = Conv <pads = [1, 1, 1, 1]> (x, a)  r = Relu(h)
        up = ConvTranspose <strides = [2, 2], group = {groups}, {more}> (r, u)
        {"low = Conv(up, v)  s = Relu(low)" if rank else "s = Relu(up)"}
        y = Conv <pads = [1, 1, 1, 1]> (s, b)""",
        {
            name: RNG.normal(0, 0.2, shape).astype(np.float32)
            for name, shape in weights.items()
            if rank or name != "v"
        },
        inputs="float[1, 4, 8, 8] x",
    )
    onnx.save(model, path)
    return path


ENLARGES = {4: "pads = [1, 1, 1, 1]", 3: "pads = [1, 1, 1, 1], output_padding = [1, 1]"}
SMALL_TILES = [RNG.random((1, 4, 8, 8), dtype=np.float32)]


@pytest.mark.parametrize("kernel", [4, 3])
@pytest.mark.parametrize(("groups", "rank"), [(1, 0), (4, 0), (16, 0), (1, 8)])
def test_transposed_convolutions_become_int8(parse, tmp_path, kernel, groups, rank):
    source = upsampling(parse, tmp_path / "up.onnx", kernel, groups, rank, ENLARGES[kernel])
    path = tmp_path / "int8.onnx"
    result = quantize(source, path, SMALL_TILES, target="tensorrt", quality=ANYTHING_GOES)
    found = obtained(path)
    assert found["up"] == "int8"
    assert {name for name, kind in found.items() if kind == "int8"} == set(result.quantised)
    kinds = {layer.name: layer.kind for layer in result.layers}
    assert f"{kernel}x{kernel} transposed conv" in kinds["up"]


def test_what_tensorrt_has_no_int8_kernel_for_is_float_in_an_int8_engine(parse, tmp_path):
    """An output of 2 h + 2 pixels: no convolution of the input's size."""
    source = upsampling(parse, tmp_path / "up.onnx", 4, 1, 0, "pads = [0, 0, 0, 0]")
    path = tmp_path / "int8.onnx"
    quantize(source, path, SMALL_TILES, target="tensorrt", quality=ANYTHING_GOES)
    assert obtained(path) == {"h": "int8", "up": "fp32", "y": "int8"}
