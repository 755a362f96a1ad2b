"""TensorRT's own builder is the truth for its scheme; it needs no GPU for it."""

from __future__ import annotations

import importlib.util

import pytest
from edgesr_export.fp16 import to_fp16
from edgesr_export.int8 import Quality, quantize
from edgesr_export.tensorrt import Settings, available, build

pytestmark = pytest.mark.usefixtures("nncf")

PROFILE = {"input": ((1, 6, 8, 8), (1, 6, 16, 16), (2, 6, 32, 32))}


@pytest.mark.parametrize("rest", ["fp32", "fp16"])
def test_an_int8_engine_is_built_of_it(network, tiles, evaluate, tmp_path, rest):
    if importlib.util.find_spec("tensorrt_rtx") is None or "tensorrt_rtx" not in available():
        pytest.skip("tensorrt_rtx is not here: install the extra 'tensorrt' (Linux x86-64 only)")
    path = tmp_path / "int8.onnx"
    result = quantize(network, path, tiles, target="tensorrt", quality=Quality(evaluate, 1, 1))
    if rest == "fp16":
        path = to_fp16(path, tmp_path / "int8_fp16.onnx").path
    side = build(
        path, tmp_path / "int8.engine", expect="int8", compute_capability="8.6", profile=PROFILE,
        settings=Settings(progress=False),
    ).side  # fmt: skip
    obtained = {name: both["obtained"] for name, both in side.precision.items()}
    assert {name for name, kind in obtained.items() if kind == "int8"} == set(result.quantised)
    assert sorted(obtained.values()) == [rest, *["int8"] * 4]
