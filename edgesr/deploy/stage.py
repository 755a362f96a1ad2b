"""The stage of deployment: models, engines, and one table of what they reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgesr_export.runner import ONNX_RUNTIME, open_runner
from edgesr_export.sizes import Shape, input_shape
from edgesr_export.targets import ALWAYS, PRECISIONS, find_target
from torch import Tensor, nn

from edgesr.deploy import (
    PLAIN,
    REWRITTEN,
    Conditions,
    Engine,
    Limits,
    Model,
    Skipped,
    Truth,
    VariantBuilder,
    build_engines,
    calibration_tiles,
    export_baselines,
    measure_models,
    on_budget,
    open_baselines,
    ratios,
    timed_name,
)
from edgesr.deploy.baselines import baseline_file
from edgesr.deploy.inputs import adversarial_images, window_corner
from edgesr.deploy.native import add_natives
from edgesr.deploy.profiles import profiled_network
from edgesr.errors import OptionError
from edgesr.evaluation.drop import BlockFigures, drop_between, worst
from edgesr.evaluation.latency import Timing, in_torch
from edgesr.evaluation.latency import measure as time_calls
from edgesr.loading.workload import Size, Workload
from edgesr.progress import timed_stage, track

REPEATS = 15
PROFILED = 3
TEACHER, PAPER, ALONE, STUDENT = "teacher", "paper's", "upsampler alone", "student"


@dataclass(frozen=True)
class Artifacts:
    """What the stage wrote.

    Attributes:
        models: ONNX files.
        engines: engines of them, for targets that run those.
        absent: what could not be made here.
    """

    models: list[Model]
    engines: list[Engine]
    absent: list[Skipped]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return asdict(self)


@dataclass(frozen=True)
class DeployConfig:
    """What is made of a student, and how it is measured.

    Attributes:
        targets: of :data:`edgesr_export.targets.TARGETS`.
        precisions: of :data:`edgesr_export.targets.PRECISIONS`, for each target that takes them.
        limits: what int8 may lose on budget blocks.
        tile: LR size of the tile that is timed.
        threads: of the CPU's runtimes.
        compute_capability: GPU that engines are built for; None for the one here, else a usual one.
        native: whether a file for native numbers is made beside each.
        tiles: LR sides that engines serve: least, tuned for, largest; None for the usual ones.
    """

    targets: tuple[str, ...] = (ALWAYS,)
    precisions: tuple[str, ...] = PRECISIONS
    limits: Limits = field(default_factory=Limits)
    tile: Size = 64
    threads: int = 1
    compute_capability: str | None = None
    native: bool = True
    tiles: tuple[int, int, int] | None = None


def make(
    config: DeployConfig,
    folder: Path,
    source: Path,
    workload: Workload,
    tune: Callable[[], Path] | None = None,
    decided: Mapping[str, Mapping[str, tuple[str, str]]] | None = None,
    *,
    engines: bool = True,
) -> Artifacts:
    """Write the student for every target and precision, and engines where they can be built.

    Args:
        config: what is wanted.
        folder: that the files go to, each into a folder of its kind.
        source: the student's float32 ONNX file.
        workload: the scene.
        tune: fine-tunes the student with quantisation simulated and returns its float32 ONNX file;
            called where the limits leave layers out of int8. None leaves it so.
        decided: layers of int8, by target, as an earlier run chose them.
        engines: whether they are built.

    Raises:
        ExportError: a model that differs from the one before, or that its target refuses.
    """
    shape = input_shape(source)
    builder = VariantBuilder(
        folder,
        calibration_tiles(workload.scene, shape),
        on_budget(workload.scene, shape),
        config.limits,
        config.threads,
        workload.example(config.tile).numpy(),
        decided,
    )
    models, absent = builder.make_all(source, config.targets, config.precisions)
    if tune is not None and any(model.left_out for model in models):
        models = _tuned(builder, models, source, tune())
    if config.native:
        models, missing = add_natives(folder, models, builder.tiles[:2])
        absent += missing
    if not engines:
        return Artifacts(models, [], absent)
    built, missing = build_engines(folder, models, config.compute_capability, config.tiles)
    return Artifacts(models, built, absent + missing)


def _tuned(builder: VariantBuilder, models: list[Model], plain: Path, tuned: Path) -> list[Model]:
    """Make int8 again of fine-tuned weights; keep what then has more layers in int8.

    What it loses is measured against the network before it was tuned.
    """
    before, after = (
        builder.evaluate(open_runner(path, ONNX_RUNTIME, threads=builder.threads))
        for path in (plain, tuned)
    )
    first, then = (BlockFigures(one["mpsnr"], one["sam"]) for one in (before, after))
    lost = drop_between(first, then, builder.limits.confidence)
    if worst(lost, "psnr") > builder.limits.psnr or worst(lost, "sam") > builder.limits.sam:
        return models
    builder = replace(builder, reference=before)
    kept = []
    for model in models:
        if not model.left_out:
            kept.append(model)
            continue
        path = builder.folder / model.path
        content = path.read_bytes()
        again = builder.make(tuned, model.target, model.precision)
        if again is not None and again.counts.get("int8", 0) > model.counts.get("int8", 0):
            kept.append(replace(again, tuned=True))
        else:
            path.write_bytes(content)
            kept.append(model)
    return kept


def measure(
    config: DeployConfig,
    folder: Path,
    made: Artifacts,
    workload: Workload,
    student: nn.Module,
    others: Mapping[str, nn.Module],
    scratch: Path,
) -> tuple[dict[str, Any], dict[str, Timing]]:
    """Measure what was made beside the uncompressed network and others, in one process.

    Args:
        config: tile and threads.
        folder: that :func:`make` wrote to.
        made: what to measure.
        workload: the scene and the uncompressed network.
        student: the network that the models must equal.
        others: by name, such as :data:`PAPER`, the paper's grouped network.
        scratch: folder for files that are needed meanwhile.

    Returns:
        ``deployment`` of the report, and the times of the baselines, of the student (as
        :data:`STUDENT`) and of the models by name.
    """
    networks = {TEACHER: workload.model, **others}
    tile = workload.example(config.tile)
    first = folder / made.models[0].path
    _check_tile(tile.shape, input_shape(first))
    files = export_baselines(networks, tile, scratch)
    entries, timings = measure_models(
        folder,
        made.models,
        made.engines,
        Truth(student, workload.scene, verification_inputs(workload)),
        Conditions(tile.numpy(), config.threads, REPEATS),
        open_baselines(files, config.threads, tile.shape),
    )
    deployment = {
        "input_shape": list(tile.shape),
        "threads": config.threads,
        "repeats": REPEATS,
        "models": entries,
        "engines": [asdict(engine) for engine in made.engines],
        "ratios": _ratios(timings),
        "absent": [asdict(one) for one in made.absent],
    }
    student_time = timings[timed_name("fp32", find_target(ALWAYS).label)]
    return deployment, {**timings, STUDENT: student_time}


def measure_in_torch(
    size: Size, workload: Workload, student: nn.Module, others: Mapping[str, nn.Module]
) -> dict[str, Timing]:
    """Time networks that cannot be exported, in turn, in PyTorch; names as :func:`measure` has.

    ``size`` is that of the LR tile.
    """
    tile = workload.example(size)
    networks = {
        f"{name} {REWRITTEN}": one for name, one in {TEACHER: workload.model, **others}.items()
    }
    networks[STUDENT] = student
    with timed_stage("time networks in PyTorch"):
        return time_calls(
            {name: in_torch(network, tile) for name, network in networks.items()}, REPEATS
        )


def _check_tile(tile: Sequence[int], shape: Shape) -> None:
    if any(fixed not in (None, asked) for fixed, asked in zip(shape[2:], tile[2:], strict=True)):
        raise OptionError(
            f"the network fixes the size of its input to {shape[2]} x {shape[3]} pixels; leave out"
            " --tile"
        )


def _ratios(timings: Mapping[str, Timing]) -> list[dict[str, Any]]:
    """How much faster: by exact rewrites alone, and by everything together."""
    usual = find_target(ALWAYS).label
    pairs = {}
    for network in (TEACHER, PAPER):
        plain, rewritten = f"{network} {PLAIN}", f"{network} {REWRITTEN}"
        if plain in timings:
            pairs[f"exact rewrites, {network} network"] = (plain, rewritten)
    models = [name for name in timings if name.startswith("student ")]
    best = min(models, key=lambda name: timings[name].median_ms)
    plain = f"{TEACHER} {PLAIN}"
    for name in models:
        if usual in name and any(kind in name for kind in ("fp32", "int8")):
            pairs[name] = (plain, name)
    pairs.setdefault(best, (plain, best))
    for naive in (name for name in timings if name.startswith(f"{plain}, ")):
        pairs[f"against {naive.removeprefix(f'{plain}, ')}"] = (naive, best)
    return ratios(pairs, timings)


def profile(
    config: DeployConfig, folder: Path, made: Artifacts, workload: Workload, scratch: Path
) -> dict[str, Any]:
    """Return where the time of a call goes, layer by layer: ``profile`` of the report.

    Args:
        config: tile and threads.
        folder: that :func:`make` wrote to.
        made: whose models for the CPU are profiled.
        workload: the scene.
        scratch: where :func:`measure` has left the uncompressed network.
    """
    usual = find_target(ALWAYS)
    tile = workload.example(config.tile).numpy()
    files = {TEACHER: (scratch / baseline_file(TEACHER, PLAIN), "fp32")}
    files |= {
        {"fp32": "student"}.get(model.precision, model.precision): (
            folder / model.path,
            model.precision,
        )
        for model in made.models
        if model.target == usual.name and model.precision in ("fp32", "int8")
    }
    networks = [
        profiled_network(
            name, usual.profile(path, precision, tile, threads=config.threads, runs=PROFILED)
        )
        for name, (path, precision) in track([*files.items()], "profile")
    ]
    return {
        "runtime": usual.label,
        "input_shape": list(tile.shape),
        "threads": config.threads,
        "runs": PROFILED,
        "networks": networks,
    }


def verification_inputs(workload: Workload) -> list[Tensor]:
    """Return real and adversarial LR inputs: a test window, zeros, ones, a step, odd noise."""
    return [window_corner(workload), *adversarial_images(len(workload.scene.bands)).values()]
