"""What the models are compared with: the uncompressed and the paper's network, as ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from edgesr_export.errors import ExportError
from edgesr_export.model_file import load_model, write_model
from edgesr_export.refill import refill
from edgesr_export.rewrite import rewrite
from edgesr_export.runner import ONNX_RUNTIME, open_runner
from edgesr_export.targets import ALWAYS, TARGETS, find_target
from edgesr_export.tracing import FIXED, export_with_fallbacks
from edgesr_export.verify import compare
from torch import Tensor, nn

from edgesr.deploy.measure import Baseline
from edgesr.progress import track

PLAIN, REWRITTEN = "plain", "rewritten"


def baseline_file(network: str, form: str) -> str:
    """Name of the file of a network as it is, or rewritten."""
    return f"{network}-{form}.onnx"


def export_plain(network: nn.Module, path: Path, tile: Tensor) -> None:
    """Write a network as torch exports it, for the size of ``tile`` [1, B, h, w].

    Raises:
        ExportError: there is no way, or none that is right.
    """
    export_with_fallbacks(network, path, [tile], tile, strategies=FIXED, rewrite=False)


def rewrite_for(
    plain: Path,
    path: Path,
    network: nn.Module,
    tile: Tensor,
    target: str = ALWAYS,
    *,
    is_proved: bool = False,
) -> Path:
    """Write the file ``plain`` of a network as a runtime gets it in the end, compared with it.

    ``is_proved`` says that a file of the same graph was: then it is not compared anew.

    Raises:
        ExportError: it computes something else on ``tile``.
    """
    rewritten, _ = rewrite(load_model(plain), find_target(target).rules)
    unproved = path.with_suffix(".unproved.onnx")
    write_model(rewritten, unproved)
    if not is_proved:
        compare(unproved, network, [tile])
    return unproved.replace(path)


def export_baselines(
    networks: Mapping[str, nn.Module], tile: Tensor, folder: Path
) -> dict[str, Path]:
    """Write each network as torch exports it, and with every exact rewrite for the CPU.

    One of the same graph as the first gets the first one's file, with weights of its own. A file
    that is there is taken as it is: names stand for networks.

    Args:
        networks: by name; the first is the uncompressed one.
        tile: LR tile [1, B, h, w] that will be timed; the files have its size.
        folder: for the files.

    Returns:
        Path by name, such as "teacher plain".

    Raises:
        ExportError: a network that cannot be exported.
    """
    files: dict[str, Path] = {}
    first: tuple[Path, nn.Module] | None = None
    for name, network in track([*networks.items()], "export what students are compared with"):
        plain = files[f"{name} {PLAIN}"] = folder / baseline_file(name, PLAIN)
        rewritten = files[f"{name} {REWRITTEN}"] = folder / baseline_file(name, REWRITTEN)
        made = plain.is_file() or (first and _refilled(*first, network, plain, tile))
        if not made:
            export_plain(network, plain, tile)
        first = first or (plain, network)
        rewrite_for(plain, rewritten, network, tile)
    return files


def _refilled(source: Path, before: nn.Module, after: nn.Module, path: Path, image: Tensor) -> bool:
    """Write the file of a network's relative, if only weights and groups tell the two apart."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    convs = {name: one for name, one in before.named_modules() if isinstance(one, kinds)}
    groups = {
        f"{name}.weight": one.groups
        for name, one in after.named_modules()
        if isinstance(one, kinds) and name in convs and one.groups != convs[name].groups
    }
    if not refill(source, state_arrays(before), state_arrays(after), path, groups):
        return False
    try:
        compare(path, after, [image])
    except ExportError:  # they differ in more than that
        return False
    return True


def state_arrays(model: nn.Module) -> dict[str, np.ndarray]:
    """The tensors of a network's state as arrays, by name."""
    state = model.state_dict()
    return {name: v.detach().numpy() for name, v in state.items() if isinstance(v, Tensor)}


def open_baselines(files: Mapping[str, Path], threads: int, shape: Sequence[int]) -> list[Baseline]:
    """Load the files in ONNX Runtime; the first also as other targets make the best of it.

    Args:
        files: of :func:`export_baselines`.
        threads: of the runtimes.
        shape: [1, B, h, w] that will be timed; some runtimes gain by knowing it.
    """
    baselines = [
        Baseline(name, open_runner(path, ONNX_RUNTIME, threads=threads))
        for name, path in files.items()
    ]
    first, path = next(iter(files.items()))
    for target in TARGETS.load().values():
        if found := target.unrewritten(path, threads, shape):
            label, network = found
            baselines.append(Baseline(f"{first}, {label}", network))
    return baselines
