"""Engines of the models, for targets that run engines and not files, where they can be built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesr_export.errors import ExportError
from edgesr_export.targets import find_target

from edgesr.deploy.variants import Model, Skipped
from edgesr.progress import timed_stage

FOLDER = "engines"


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
        why_one_size: why it serves one size alone; None where it serves a range, or the file has
            one.
    """

    path: str
    model: str
    precision: str
    library: str
    compute_capability: str
    bytes: int
    build_s: float
    layers: dict[str, int]
    why_one_size: str | None = None


def build_engines(
    folder: Path,
    models: Sequence[Model],
    capability: str | None,
    tiles: tuple[int, int, int] | None = None,
) -> tuple[list[Engine], list[Skipped]]:
    """Build an engine of every model whose target runs engines, and of its native file.

    Args:
        folder: of the run.
        models: what was made; those that run as they are are passed over.
        capability: GPU to build for, such as "8.6"; None takes the one here, else a usual one.
        tiles: LR sides that they serve: least, tuned for, largest; None for the usual ones.

    Returns:
        The engines, and what is not: what builds them may not be here, or refuse a model.
    """
    engines: list[Engine] = []
    absent: list[Skipped] = []
    for target in dict.fromkeys(model.target for model in models):
        on = find_target(target)
        if not on.engines:
            continue
        if why := on.cannot_build():
            absent.append(Skipped(f"{on.engines} engines", why))
            continue
        with timed_stage(f"{on.engines} engines"):
            for model in (one for one in models if one.target == target):
                files = {f"a {on.engines} engine in {model.precision}": model.path}
                if model.native:
                    what = f"a {on.engines} engine of native numbers in {model.precision}"
                    files[what] = model.native.path
                for what, path in files.items():
                    try:
                        engines.append(_build(folder, model, path, capability, tiles))
                    except ExportError as error:
                        absent.append(Skipped(what, str(error)))
    return engines, absent


def _build(
    folder: Path,
    model: Model,
    path: str,
    capability: str | None,
    tiles: tuple[int, int, int] | None,
) -> Engine:
    (folder / FOLDER).mkdir(exist_ok=True)
    built = find_target(model.target).build(
        folder / path, folder / FOLDER, model.precision, capability, tiles
    )
    return Engine(
        path=str(built.path.relative_to(folder)),
        model=path,
        precision=built.precision,
        library=built.library,
        compute_capability=built.compute_capability,
        bytes=built.path.stat().st_size,
        build_s=built.build_s,
        layers=built.layers,
        why_one_size=built.why_one_size,
    )
