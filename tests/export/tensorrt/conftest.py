"""Small networks as ONNX files of every precision, each made once for all tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from edgesr_export.fp16 import to_fp16
from edgesr_export.onnx import export_onnx
from edgesr_export.tensorrt import available
from edgesr_export.tensorrt.sidecar import SideFile, sha256
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import nn

from edgesr.models import create_model
from edgesr.surgery import find_sites, grouped, lowrank

BANDS, TILE = 32, 16
PROFILE = {"input": ((1, BANDS, 8, 8), (1, BANDS, TILE, TILE), (2, BANDS, 32, 32))}


@pytest.fixture(scope="session")
def rtx():
    """tensorrt_rtx, which builds without a GPU."""
    if importlib.util.find_spec("tensorrt_rtx") is None or "tensorrt_rtx" not in available():
        pytest.skip("tensorrt_rtx is not here: install the extra 'tensorrt' (Linux x86-64 only)")
    return "tensorrt_rtx"


def networks() -> dict[str, nn.Module]:
    """LKCA-Net, two students of it, and DACN with one; weights that move every layer's output."""
    torch.manual_seed(0)
    teacher = create_model("lkca_net", bands=BANDS, scale=4, blocks=2)
    nn.init.normal_(teacher.upsampler.weight, std=0.02)
    example = torch.rand(1, BANDS, TILE, TILE)
    site = find_sites(teacher, example)[0]
    dacn = create_model("dacn", scale=2, width=16)
    return {
        "lkca_net": teacher,
        "lowrank": lowrank(teacher, site, 32)[0],
        "grouped": grouped(teacher, site, 8)[0],
        "dacn": dacn,
        "dacn_lowrank": lowrank(dacn, find_sites(dacn, example)[0], 8)[0],
    }


@dataclass
class Files:
    """ONNX files of :func:`networks`; ``lkca_net`` has free sizes, the others one."""

    folder: Path
    modules: dict[str, nn.Module]

    def __call__(self, name: str, precision: str = "fp32") -> Path:
        path = self.folder / f"{name}.{precision}.onnx"
        if not path.exists():
            getattr(self, f"_{precision}")(name, path)
        return path

    def _fp32(self, name: str, path: Path) -> None:
        example = torch.rand(1, BANDS, TILE, TILE)
        export_onnx(self.modules[name], example, path, dynamic=name == "lkca_net")

    def _fp16(self, name: str, path: Path) -> None:
        to_fp16(self(name), path)

    def _int8(self, name: str, path: Path) -> None:
        quantise(self(name), path)

    def _int8_fp16(self, name: str, path: Path) -> None:
        """Convolutions in int8, the rest in float16."""
        to_fp16(self(name, "int8"), path)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("networks"), networks())


@pytest.fixture
def side_file() -> SideFile:
    """The side file of an engine of the content ``an engine``, for an Orin."""
    return SideFile(
        engine_sha256=sha256(b"an engine"),
        onnx="model.onnx",
        onnx_sha256="",
        library="tensorrt",
        version="10.3.0",
        compute_capability="8.7",
        gpu="Orin",
        expect="fp16",
        strongly_typed=True,
        tf32=False,
        profile={"x": [[1, 3, 8, 8], [1, 3, 16, 16], [1, 3, 32, 32]]},
        precision={"conv": {"asked": "fp16", "obtained": "fp16"}},
        kept_in_float32={},
        precision_source="engine inspector",
        layers=[],
        warnings={},
        memory_limit=None,
        build_seconds=1.5,
        built_at="2025-01-01T00:00:00+00:00",
    )


class _Tiles(CalibrationDataReader):
    def __init__(self) -> None:
        random = np.random.default_rng(0)
        tiles = random.random((2, 1, BANDS, TILE, TILE), dtype=np.float32)
        self._rest = iter([{"input": tile} for tile in tiles])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._rest, None)


def quantise(source: Path, path: Path) -> None:
    """Symmetric int8 around every Conv but the bicubic one, by ONNX Runtime's own quantiser."""
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


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes an ONNX file from the text of its nodes."""

    def written(
        body: str,
        initializers: dict[str, object] | None = None,
        *,
        inputs: str = "float[1, 3, 8, 8] x",
        outputs: str = "float[1, 3, 8, 8] y",
        name: str = "model.onnx",
        opset: int = 20,
    ) -> Path:
        model = onnx.parser.parse_model(
            f'<ir_version: 10, opset_import: ["" : {opset}, "com.acme" : 1]> '
            f"network ({inputs}) => ({outputs}) {{ {body} }}"
        )
        for key, array in (initializers or {}).items():
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), key))
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return written
