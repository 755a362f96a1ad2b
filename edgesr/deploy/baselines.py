"""What the models are compared with: the uncompressed and the paper's network, as ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgesr_export.chain import convert
from edgesr_export.runner import ONNX_RUNTIME, open_runner
from edgesr_export.targets import ALWAYS, TARGETS
from edgesr_export.tracing import STRATEGIES, ExportStrategy, export_with_fallbacks
from torch import Tensor, nn

from edgesr.deploy.measure import Baseline
from edgesr.progress import track

PLAIN, REWRITTEN = "plain", "rewritten"


def baseline_file(network: str, form: str) -> str:
    """Name of the file of a network as it is, or rewritten."""
    return f"{network}-{form}.onnx"


def export_baselines(
    networks: Mapping[str, nn.Module],
    example: Tensor,
    folder: Path,
    tile: Tensor | None = None,
    strategies: Sequence[ExportStrategy] = STRATEGIES,
) -> dict[str, Path]:
    """Write each network as torch exports it, and with every exact rewrite for the CPU.

    Args:
        networks: by name; the first is the uncompressed one.
        example: LR tile [1, B, h, w].
        folder: for the files.
        tile: LR tile [1, B, h, w] that will be timed; that of a file whose size cannot be free.
        strategies: ways of export to try, of :mod:`edgesr_export.tracing`.

    Returns:
        Path by name, such as "teacher plain".

    Raises:
        ExportError: a network that cannot be exported.
    """
    files = {}
    for name, network in track([*networks.items()], "export what students are compared with"):
        plain = files[f"{name} {PLAIN}"] = folder / baseline_file(name, PLAIN)
        rewritten = files[f"{name} {REWRITTEN}"] = folder / baseline_file(name, REWRITTEN)
        shown = example if tile is None else tile
        export_with_fallbacks(
            network, plain, [example], shown, strategies=strategies, rewrite=False
        )
        convert(plain, rewritten, target=ALWAYS, tiles=[shown.numpy()], overwrite=True)
    return files


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
