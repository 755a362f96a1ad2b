"""Bundles of a tiny network, and what every test of this folder shares."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from edgesr_jetson.bundle import make_bundle
from jetson_fakes import expected, onnx_file, tiles

SCHEMA = Path(__file__).parents[2] / "jetson" / "edgesr_jetson" / "board" / "result.schema.json"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``onnx`` (the tiny network in two precisions) and ``out`` (a bundle of both)."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "onnx").mkdir()
    (folder / "out").mkdir()
    files = {name: onnx_file(folder / f"onnx/{name}.onnx", name) for name in ("fp32", "fp16")}
    inputs = tiles((6, 5), (8, 10))
    answers = [expected(tile) for tile in inputs]
    make_bundle(files, inputs, answers, {"name": "tiny"}, folder / "out/bundle")
    return folder


@pytest.fixture
def onnx_files(tmp_path: Path, made: Path) -> dict[str, Path]:
    """The tiny network in two precisions."""
    folder = Path(shutil.copytree(made / "onnx", tmp_path / "onnx"))
    return {name: folder / f"{name}.onnx" for name in ("fp32", "fp16")}


@pytest.fixture
def bundle(tmp_path: Path, made: Path) -> Path:
    """Folder of a bundle of both, tiles of 6x5 to 8x10; its archive lies beside it."""
    return Path(shutil.copytree(made / "out", tmp_path / "out")) / "bundle"


@pytest.fixture
def validated():
    """Read a result.json and hold it against the documented schema."""
    schema = json.loads(SCHEMA.read_text())

    def read(path: Path) -> dict[str, Any]:
        result = json.loads(path.read_text())
        jsonschema.Draft202012Validator(schema).validate(result)
        return result

    return read
