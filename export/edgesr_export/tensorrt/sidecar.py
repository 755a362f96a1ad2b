"""The JSON file beside an engine: made of what, by what, for which GPU, and how it came out.

An engine says nothing of its origin and runs, or crashes, on the wrong GPU. So nothing here runs an
engine without its side file, and :func:`check_engine` compares the two with the world.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from edgesr_export.card import ModelCard, parse_card
from edgesr_export.errors import ExportError, one_line
from edgesr_export.model_file import file_hash
from edgesr_export.tensorrt.api import Api, capability_text, find_api
from edgesr_export.tensorrt.cuda import Device, find_device
from edgesr_export.tensorrt.profile import Range

FORMAT = 1
"""Raised when a field changes its meaning."""


class StaleEngineError(ExportError):
    """An engine does not belong to the network, the GPU or the TensorRT at hand."""


@dataclass(frozen=True)
class SideFile:
    """What is known of an engine.

    Attributes:
        engine_sha256: hash of the engine.
        onnx: name of the ONNX file.
        onnx_sha256: hash of the ONNX file and of weights beside it.
        library, version: the TensorRT that built it.
        compute_capability: of the GPU that it was built for, such as "8.6".
        gpu: the GPU that it was built and timed on; None if built without one.
        expect: precision that was asked for.
        strongly_typed: the builder was bound to the types of the file.
        tf32: float32 layers may round their factors to 10 bits of significand.
        profile: shapes [least, best, most] of every input of free size.
        precision: {layer: {"asked", "obtained"}} of every layer with arithmetic.
        kept_in_float32: {layer: reason} where the file keeps a layer in float32 on purpose.
        precision_source: "engine inspector" or "builder report".
        layers: the engine's own layers, with kind, precision and the ONNX nodes in each.
        warnings: {message: why it changes nothing}; None where nothing is known.
        memory_limit: bytes that the engine may use beside its weights; None for no limit.
        build_seconds: wall clock of the build.
        built_at: UTC, ISO 8601.
        model: the card of the ONNX file, as plain values; None where it had none.
        why_one_size: why it serves one size where a range was asked for; None where it does not.
    """

    engine_sha256: str
    onnx: str
    onnx_sha256: str
    library: str
    version: str
    compute_capability: str
    gpu: str | None
    expect: str
    strongly_typed: bool
    tf32: bool
    profile: dict[str, list[list[int]]]
    precision: dict[str, dict[str, str | None]]
    kept_in_float32: dict[str, str]
    precision_source: str
    layers: list[dict[str, Any]]
    warnings: dict[str, str | None]
    memory_limit: int | None
    build_seconds: float
    built_at: str
    format: int = field(default=FORMAT)
    model: dict[str, Any] | None = None
    why_one_size: str | None = None

    @property
    def left_in_float(self) -> list[str]:
        """Layers that are quantised in the file, and that TensorRT has no int8 kernel for."""
        return [
            name
            for name, both in self.precision.items()
            if both["asked"] == "int8" and both["obtained"] not in ("int8", None)
        ]

    def __post_init__(self) -> None:
        for name, shapes in self.profile.items():
            if len(shapes) != 3:
                raise ValueError(f"the profile of {name!r:.80} is not least, best and most")

    @property
    def card(self) -> ModelCard | None:
        """The card of the network.

        Raises:
            ExportError: it is damaged, or of a newer version.
        """
        return None if self.model is None else parse_card(json.dumps(self.model), self.onnx)

    def to_json(self) -> bytes:
        """Content of the file."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    def ranges(self) -> dict[str, Range]:
        """The profile as ranges."""
        return {
            name: Range(*(tuple(shape) for shape in shapes))
            for name, shapes in self.profile.items()
        }


def side_path(engine: Path | str) -> Path:
    """``model.engine.json`` beside ``model.engine``."""
    engine = Path(engine)
    return engine.with_name(f"{engine.name}.json")


def read_side(engine: Path | str) -> SideFile:
    """The side file of ``engine``.

    Raises:
        StaleEngineError: none, or one that this version cannot read.
    """
    path = side_path(engine)
    if not path.is_file():
        raise StaleEngineError(f"{engine} has no side file {path.name}; build the engine again")
    try:
        side = msgspec.convert(json.loads(path.read_text(encoding="utf-8")), SideFile)
    except (OSError, RecursionError, ValueError) as error:  # msgspec's own are among them
        raise StaleEngineError(
            f"{path} cannot be read ({one_line(error, 80)}); build the engine again"
        ) from error
    if side.format != FORMAT:
        raise StaleEngineError(
            f"{path} has format {side.format} and {FORMAT} is read here; build the engine again"
        )
    return side


def check_engine(
    engine: Path | str,
    onnx: Path | str | None = None,
    *,
    api: Api | None = None,
    device: Device | None = None,
) -> SideFile:
    """Make sure that an engine may be run here.

    Args:
        engine: file of the engine.
        onnx: network that it should compute; not compared when None.
        api: TensorRT to run it with; by default the one that built it.
        device: GPU to run it on; by default the one in use, not compared where there is none.

    Returns:
        Its side file.

    Raises:
        StaleEngineError: another network, GPU or TensorRT, a damaged engine, or no side file.
        ExportError: no such engine or ONNX file.
    """
    engine = Path(engine)
    if not engine.is_file():
        raise ExportError(f"{engine} does not exist; build it first")
    side = read_side(engine)
    api = api or find_api(side.library)
    device = device or find_device()
    problem = _problem(engine, side, onnx, api, device)
    if problem:
        raise StaleEngineError(f"{engine} {problem}; build it again")
    return side


def sha256(content: bytes | memoryview) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _problem(
    engine: Path, side: SideFile, onnx: Path | str | None, api: Api, device: Device | None
) -> str:
    if sha256(engine.read_bytes()) != side.engine_sha256:
        return "is not the engine that its side file describes"
    if onnx is not None and file_hash(onnx) != side.onnx_sha256:
        return f"was built from another network than {onnx}"
    if (api.name, api.version) != (side.library, side.version):
        return f"was built by {side.library} {side.version}, and here is {api.name} {api.version}"
    if device is None:
        return ""
    here = capability_text(device.capability)
    if here != side.compute_capability:
        return (
            f"was built for compute capability {side.compute_capability}, and {device.name} "
            f"has {here}"
        )
    if side.gpu is not None and side.gpu != device.name:
        return f"was built and timed on {side.gpu}, and here is {device.name}"
    return ""
