"""A small network as files of every target and precision, and what native numbers it may get."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnx.parser
import pytest
from edgesr_export.chain import convert
from edgesr_export.native import NativeIO, from_bytes, make_native, to_bytes
from edgesr_export.runtime import session
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

BANDS, SCALE, SENSOR = 19, 4, 24
"""Three slabs of bands in ONNX Runtime's files."""


def network(size: tuple[int, int] | None) -> onnx.ModelProto:
    """Convolution, Gelu, convolution and pixel shuffle, and a bicubic image beside."""
    pixels = ("h", "w", "hr", "wr") if size is None else (*size, *(SCALE * n for n in size))
    height, width, high, wide = pixels
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        network (float[{"n" if size is None else 1}, {BANDS}, {height}, {width}] input)
            => (float[{"n" if size is None else 1}, {BANDS}, {high}, {wide}] output)
        <float[4] scales = {{1, 1, {SCALE}, {SCALE}}}> {{
            features = Conv <pads = [1, 1, 1, 1]> (input, head_weight, head_bias)
            active = Gelu(features)
            phases = Conv(active, upsampler_weight, upsampler_bias)
            detail = DepthToSpace <blocksize = {SCALE}, mode = "CRD"> (phases)
            base = Resize <mode = "cubic"> (input, , scales)
            output = Add(detail, base)
        }}"""
    )
    rng = np.random.default_rng(0)
    for name, shape, spread in (
        ("head_weight", (8, BANDS, 3, 3), 0.1),
        ("head_bias", (8,), 0.1),
        ("upsampler_weight", (BANDS * SCALE**2, 8, 1, 1), 0.03),
        ("upsampler_bias", (BANDS * SCALE**2,), 0.01),
    ):
        array = rng.normal(0, spread, shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{index}"
    return model


class _Tiles(CalibrationDataReader):
    def __init__(self) -> None:
        random = np.random.default_rng(0)
        tiles = random.random((2, 1, BANDS, 8, 8), dtype=np.float32)
        self._rest = iter([{"input": tile} for tile in tiles])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._rest, None)


def quantise(source: Path, path: Path, target: str) -> None:
    """Symmetric int8 around every convolution but the bicubic one."""
    model = onnx.load(source)
    bicubic = [n.name for n in model.graph.node if any(i.endswith(".bicubic") for i in n.input)]
    quantize_static(
        model,
        path,
        _Tiles(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        nodes_to_exclude=bicubic,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
        },
    )


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``files(target, precision)``, of free size; ``size=(7, 5)`` fixes it."""
    folder = tmp_path_factory.mktemp("native")

    def made(target: str, precision: str = "fp32", size: tuple[int, int] | None = None) -> Path:
        if target == "openvino" and importlib.util.find_spec("openvino") is None:
            pytest.skip("OpenVINO is not here: install the extra 'openvino'")
        name = "free" if size is None else "{}x{}".format(*size)
        path = folder / f"{target}.{precision}.{name}.onnx"
        if not path.exists():
            plain = folder / f"plain.{name}.onnx"
            if not plain.exists():
                onnx.save(network(size), plain)
            convert(
                plain,
                path,
                target=target,
                precision=precision,
                quantise=quantise if precision == "int8" else None,
                opset=16 if target == "tensorrt" else None,
            )
        return path

    return made


@dataclass(frozen=True)
class Numbers:
    """Native numbers of a kind: what they mean, and images of them."""

    io: NativeIO

    def image(self, seed: int, size: tuple[int, int] = (9, 7), count: int = 1) -> np.ndarray:
        """Noise from below to above every band; a corner and single bands of nodata."""
        rng, io = np.random.default_rng(seed), self.io
        low, high = min(io.lower), max(io.upper)
        wide = rng.uniform(low - 0.1 * (high - low), high * 1.1, (count, io.sensor_bands, *size))
        if io.input_dtype != "float32":
            kind = np.iinfo(io.input_dtype)
            wide = np.clip(np.rint(wide), kind.min, kind.max)
        image = wide.astype(io.input_dtype)
        if io.nodata is not None:
            image[0, :, :3, :2] = io.nodata
            image[-1, io.selection[3], 5, 4] = io.nodata
        if io.input_dtype == "float32":
            image[0, io.selection[0], -1, -1], image[0, io.selection[-1], 4, 0] = np.inf, np.nan
        return image


def numbers(
    input_dtype: str, output_dtype: str, nodata: float | None = None, **changes: object
) -> Numbers:
    """Bands of uneven ranges that the type of the output holds, 19 of 24 read in another order."""
    rng = np.random.default_rng(7)
    unit = 250 if "uint8" in (input_dtype, output_dtype) else 9000
    lower = rng.uniform(0.002, 0.1, BANDS) * unit - (200 if output_dtype == "int16" else 0)
    upper = lower + rng.uniform(0.3, 0.9, BANDS) * unit
    values = {
        "lower": lower,
        "upper": upper,
        "sensor_bands": SENSOR,
        "selection": rng.permutation(SENSOR)[:BANDS],
        "input_dtype": input_dtype,
        "output_dtype": output_dtype,
        "nodata": nodata,
        "fill": (lower + upper) / 2,
        "scale": SCALE,
    }
    return Numbers(NativeIO(**{**values, **changes}))


KINDS = {
    "uint16": numbers("uint16", "uint16"),
    "uint16, nodata 0": numbers("uint16", "uint16", 0),
    "uint16, nodata 65535": numbers("uint16", "uint16", 65535),
    "int16, nodata -9999": numbers("int16", "int16", -9999),
    "uint8, nodata 3": numbers("uint8", "uint8", 3),
    "float32": numbers("float32", "float32"),
    "float32, nodata NaN": numbers("float32", "float32", float("nan")),
    "float32, nodata -9999": numbers("float32", "float32", -9999),
    "float32 to uint16": numbers("float32", "uint16"),
    "uint16 to float32, nodata 7": numbers("uint16", "float32", 7),
}


def answer(path: Path, io: NativeIO, image: np.ndarray, folder: Path, run=session, fused=False):
    """What the native form of a file answers."""
    made = folder / "native.onnx"
    onnx.save(make_native(onnx.load(path), io, fused=fused), made)
    given = to_bytes(image) if io.pairs(io.input_dtype) else image
    found = run(made)(given)
    return from_bytes(found, io.output_dtype) if io.pairs(io.output_dtype) else found


def agree(found: np.ndarray, expected: np.ndarray, least: float = 0.999) -> None:
    """Within 1 everywhere, equal nearly everywhere, and nodata where nodata is right."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    distance = np.abs(np.nan_to_num(found).astype(np.float64) - np.nan_to_num(expected))
    assert distance.max() <= 1
    near = 0.01 if found.dtype == np.float32 else 0
    assert (distance <= near).mean() >= least


@pytest.fixture(scope="session")
def native() -> SimpleNamespace:
    """Helpers of this folder."""
    return SimpleNamespace(kinds=KINDS, numbers=numbers, answer=answer, agree=agree)
