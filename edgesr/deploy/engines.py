"""TensorRT engines of the models that are made for it, where TensorRT is installed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesr_export.errors import ExportError

from edgesr.deploy.variants import Model, Skipped

FOLDER = "engines"
DEFAULT_CAPABILITY = "8.6"
"""Built for where no GPU is at hand: Ampere, such as an RTX 30 or A10."""

TILES = (8, 64, 128)
"""LR sides that an engine serves: least, tuned for, largest."""


@dataclass(frozen=True)
class Engine:
    """An engine that was built; all is in its side file, which ends in ``.json``.

    Attributes:
        path: relative to the run's folder.
        model: path of the ONNX file that it was built from, likewise.
        precision: "fp32", "fp16" or "int8", read back from the engine.
        library: such as "tensorrt_rtx 1.7.1".
        compute_capability: of the GPU that it runs on.
        bytes: its size.
        build_s: seconds that the build took.
        layers: number of the network's layers by the precision that they compute in.
    """

    path: str
    model: str
    precision: str
    library: str
    compute_capability: str
    bytes: int
    build_s: float
    layers: dict[str, int]


def build_engines(
    folder: Path, models: Sequence[Model], capability: str | None
) -> tuple[list[Engine], list[Skipped]]:
    """Build an engine of every model for TensorRT.

    Args:
        folder: of the run.
        models: what was made; those for other targets are passed over.
        capability: GPU to build for, such as "8.6"; None takes the one here, else
            :data:`DEFAULT_CAPABILITY`.

    Returns:
        The engines, and what is not: TensorRT may not be here, or refuse a model.
    """
    wanted = [model for model in models if model.target == "tensorrt"]
    from edgesr_export.tensorrt import available

    if not wanted:
        return [], []
    if not available():
        why = (
            "TensorRT is not installed: pip install 'edgesr[tensorrt]', or build on the board"
            " with edgesr bundle"
        )
        return [], [Skipped("TensorRT engines", why)]
    engines, absent = [], []
    for model in wanted:
        try:
            engines.append(_build(folder, model, capability or _here()))
        except ExportError as error:
            absent.append(Skipped(f"a TensorRT engine in {model.precision}", str(error)))
    return engines, absent


def _here() -> str:
    from edgesr_export.tensorrt.api import capability_text
    from edgesr_export.tensorrt.cuda import find_device

    device = find_device()
    return capability_text(device.capability) if device else DEFAULT_CAPABILITY


def _build(folder: Path, model: Model, capability: str) -> Engine:
    import onnx
    from edgesr_export.tensorrt import build, tile_profile
    from edgesr_export.tensorrt.profile import model_inputs

    source = folder / model.path
    (folder / FOLDER).mkdir(exist_ok=True)
    path = folder / FOLDER / f"sm{capability.replace('.', '')}-{model.precision}.engine"
    profile = tile_profile(model_inputs(onnx.load(source, load_external_data=False)), TILES)
    side = build(
        source,
        path,
        expect=model.precision,  # type: ignore[arg-type]
        compute_capability=capability,
        profile=profile,
    ).side
    return Engine(
        path=str(path.relative_to(folder)),
        model=model.path,
        precision=model.precision,
        library=f"{side.library} {side.version}",
        compute_capability=side.compute_capability,
        bytes=path.stat().st_size,
        build_s=side.build_seconds,
        layers=dict(Counter(str(one["obtained"]) for one in side.precision.values())),
    )
