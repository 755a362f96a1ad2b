"""``edgesr engine``: a TensorRT engine from an ONNX file, with what is known of it beside it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgesr.errors import OptionError
from edgesr.outputs import check_outputs
from edgesr.recipe.options import BATCH, SIDE, require, whole

if TYPE_CHECKING:
    from edgesr_export.tensorrt import BuildResult
    from edgesr_export.tensorrt.profile import Profile

SUFFIX = ".engine"
MEBIBYTES = whole(1, 1 << 20)


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is built.

    Attributes:
        precision: "fp32", "fp16" or "int8"; the file must be typed so.
        capability: GPU to build for, such as "86" or "8.6"; None takes the one here.
        least, best, most: tile edge in pixels that it serves and is tuned for, where the file
            leaves it free; None takes 16, 64 and 128, drawn in to fit what is given.
        batch: largest number of tiles in one call, where the file leaves it free; None takes 1.
        memory_mib: working memory that it may use beside its weights; None for no limit.
        timing_cache: folder where builds for one device share their timings.
    """

    precision: str = "fp32"
    capability: str | None = None
    least: int | None = None
    best: int | None = None
    most: int | None = None
    batch: int | None = None
    memory_mib: int | None = None
    timing_cache: Path | None = None


def build_engine(
    source: Path, output: Path, options: EngineOptions, *, overwrite: bool = False
) -> BuildResult:
    """Build the engine of ``source`` at ``output`` and its side file ``<output>.json``.

    Both appear only when the engine is proved to compute in the precision asked for. Progress is
    shown on stderr.

    Raises:
        EdgesrError: an option or a path that cannot be used.
        ExportError: TensorRT is not here, refuses the file, or builds something else.
    """
    _check(output, options)
    from edgesr_export.model_file import load_model, model_files
    from edgesr_export.tensorrt import Settings, build, side_path
    from edgesr_export.tensorrt.profile import model_inputs

    check_outputs([output, side_path(output)], model_files(source), overwrite=overwrite)
    profile = _profile(model_inputs(load_model(source)), options, source)
    _check_gpu(options.capability)
    limit = None if options.memory_mib is None else options.memory_mib * 2**20
    return build(
        source,
        output,
        expect=options.precision,
        compute_capability=options.capability,
        profile=profile,
        settings=Settings(memory_limit=limit, timing_cache=options.timing_cache),
    )


def describe(result: BuildResult) -> str:
    """Some lines for people."""
    side = result.side
    layers = Counter(str(one["obtained"] or "hidden") for one in side.precision.values())
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(layers.items()))
    lines = [
        f"{result.engine}: {result.engine.stat().st_size / 1e6:.1f} MB for compute capability "
        f"{side.compute_capability}, {side.library} {side.version}, built in "
        f"{side.build_seconds:.1f} s",
        f"layers: {counts} (read back by {side.precision_source})",
    ]
    if side.kept_in_float32:
        lines.append(f"float32 on purpose: {len(side.kept_in_float32)} nodes")
    if left := side.left_in_float:
        lines.append(
            f"float although quantised in the file: {len(left)} layers, such as {left[0]}: "
            f"{side.library} has no int8 kernel for them"
        )
    for name, served in side.ranges().items():
        sizes = [" x ".join(map(str, shape)) for shape in (served.least, served.best, served.most)]
        lines.append(f"{name}: {sizes[0]} to {sizes[2]}, tuned for {sizes[1]}")
    if side.why_one_size:
        lines.append(f"one size alone: {side.why_one_size}")
    if side.gpu is None:
        lines.append("not timed on a GPU: kernels were chosen without one")
    return "\n".join([*lines, f"side file: {result.side_file}"])


def dla(source: Path) -> str:
    """What a DLA could take over, in one line."""
    from edgesr_export.tensorrt import dla_report

    return dla_report(source).text()


def _check(output: Path, options: EngineOptions) -> None:
    if output.suffix != SUFFIX:
        raise OptionError(f"--output must end in {SUFFIX}, not {output.name}")
    for name, value in (("min", options.least), ("opt", options.best), ("max", options.most)):
        require(name, value, SIDE)
    require("batch", options.batch, BATCH)
    require("memory_mib", options.memory_mib, MEBIBYTES)


def _profile(
    inputs: dict[str, tuple[int | None, ...]], options: EngineOptions, source: Path
) -> Profile:
    from edgesr_export.tensorrt import tile_profile
    from edgesr_export.tensorrt.profile import TILE, axes_text

    given = (options.least, options.best, options.most)
    if any(given) and not any(None in axes[2:] for axes in inputs.values()):
        name, axes = next(iter(inputs.items()))
        raise OptionError(
            f"{source} fixes the size of its input {name} {axes_text(axes)}; leave out --min, "
            "--opt and --max, or export it with free sizes"
        )
    if options.batch is not None and not any(None in axes[:1] for axes in inputs.values()):
        name, axes = next(iter(inputs.items()))
        raise OptionError(
            f"{source} fixes the number of tiles of its input {name} {axes_text(axes)}; leave out"
            " --batch, or export it with a free one"
        )
    most = options.most or max(TILE[2], *(edge or 1 for edge in given[:2]))
    best = options.best or max(min(TILE[1], most), options.least or 1)
    tile = (options.least or min(TILE[0], best), best, most)
    return tile_profile(inputs, tile, (1, 1, options.batch or 1))


def _check_gpu(capability: str | None) -> None:
    """Say what to pass where no GPU is here to build for."""
    from edgesr_export.tensorrt.api import find_api
    from edgesr_export.tensorrt.cuda import find_device

    offered = find_api().capabilities
    if capability is None and offered and find_device() is None:
        names = ", ".join(f"{major}{minor}" for major, minor in offered)
        raise OptionError(f"there is no GPU here to build for; pass --sm with one of {names}")
