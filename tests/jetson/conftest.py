"""Bundles of a tiny network, and what every test of this folder shares."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from jetson_fakes import expected, onnx_file, tiles

from jetson.bundle import make_bundle

SCHEMA = Path(__file__).parents[2] / "jetson" / "board" / "result.schema.json"


@pytest.fixture
def onnx_files(tmp_path: Path) -> dict[str, Path]:
    """The tiny network in two precisions."""
    folder = tmp_path / "onnx"
    folder.mkdir()
    return {name: onnx_file(folder / f"{name}.onnx", name) for name in ("fp32", "fp16")}


@pytest.fixture
def bundle(tmp_path: Path, onnx_files: dict[str, Path]) -> Path:
    """Folder of a bundle of both, tiles of 6x5 to 8x10."""
    inputs = tiles((6, 5), (8, 10))
    folder = tmp_path / "out" / "bundle"
    folder.parent.mkdir()
    make_bundle(onnx_files, inputs, [expected(tile) for tile in inputs], {"name": "tiny"}, folder)
    return folder


@pytest.fixture
def validated():
    """Read a result.json and hold it against the documented schema."""
    schema = json.loads(SCHEMA.read_text())

    def read(path: Path) -> dict[str, Any]:
        result = json.loads(path.read_text())
        jsonschema.Draft202012Validator(schema).validate(result)
        return result

    return read
