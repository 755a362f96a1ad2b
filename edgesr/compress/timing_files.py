"""Files that networks are timed by: one input size, and only for as long as the run lasts.

A file that is there is taken as it is: names stand for networks, and stages share a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgesr_export.errors import ExportError
from edgesr_export.model_file import load_model, write_model
from edgesr_export.refill import refill
from edgesr_export.rewrite import rewrite
from edgesr_export.targets import ALWAYS
from edgesr_export.tracing import FIXED, export_with_fallbacks, tracing
from torch import Tensor, nn

from edgesr.deploy.baselines import (
    PLAIN,
    baseline_file,
    export_plain,
    rewrite_for,
    state_arrays,
)
from edgesr.deploy.stage import TEACHER
from edgesr.surgery import Candidate


def teacher_onnx(folder: Path, tile: Tensor, teacher: nn.Module) -> Path | None:
    """The uncompressed network for one input size; None where there is no way to write it.

    As torch exports it, it is one of :func:`edgesr.deploy.baselines.export_baselines`.
    """
    path, plain = folder / f"{TEACHER}.onnx", folder / baseline_file(TEACHER, PLAIN)
    if not path.is_file():
        try:
            export_plain(teacher, plain, tile)
        except ExportError:
            return None
        write_model(rewrite(load_model(plain))[0], path)
    return path


def static_onnx(
    folder: Path,
    tile: Tensor,
    name: str,
    model: nn.Module,
    relative: tuple[Path, nn.Module] | None = None,
    groups: Mapping[str, int] | None = None,
) -> Path:
    """Export for one input size, or refill the file of a relative that has the same graph.

    What is exported after the uncompressed network is exported in the way that served there.

    Raises:
        ExportError: the network cannot be exported, or not so that it is right.
    """
    path, first = folder / f"{name}.onnx", folder / f"{TEACHER}.onnx"
    if path.is_file():
        return path
    if relative is None or not refill(
        relative[0], state_arrays(relative[1]), state_arrays(model), path, groups
    ):
        strategies = tracing(first).strategies if first.is_file() else FIXED
        export_with_fallbacks(model, path, [tile], tile, strategies=strategies)
    return path


def for_target(
    path: Path,
    model: nn.Module,
    tile: Tensor,
    target: str = ALWAYS,
    *,
    is_proved: bool = False,
) -> Path:
    """The file as a runtime gets it in the end; see :func:`edgesr.deploy.baselines.rewrite_for`."""
    fast = path.with_suffix(f".{target}.onnx")
    if fast.is_file():
        return fast
    return rewrite_for(path, fast, model, tile, target, is_proved=is_proved)


def file_name(candidate: Candidate) -> str:
    """Name of a candidate's files."""
    return f"{candidate.method}-{candidate.setting}"
