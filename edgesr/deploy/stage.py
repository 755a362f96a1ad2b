"""The stage of deployment: models, engines, and one table of what they reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from edgesr_export.profile import node_times
from edgesr_export.runtime import session
from edgesr_export.sizes import Shape, input_shape
from edgesr_export.tracing import tracing
from torch import Tensor, nn

from edgesr.deploy import (
    PLAIN,
    REWRITTEN,
    Engine,
    Limits,
    Model,
    Skipped,
    VariantBuilder,
    build_engines,
    calibration_tiles,
    export_baselines,
    measure_models,
    on_validation,
    open_baselines,
    ratios,
)
from edgesr.deploy.baselines import OPENVINO, baseline_file
from edgesr.deploy.inputs import adversarial_images, window_corner
from edgesr.deploy.measure import ONNX_RUNTIME
from edgesr.errors import OptionError
from edgesr.evaluation.latency import Timing, in_torch
from edgesr.evaluation.latency import measure as time_calls
from edgesr.loading.workload import Workload
from edgesr.progress import timed_stage
from edgesr.recipe.recipes import CompressRecipe

DEFAULT_SAM_DROP = 0.05  # degrees that int8 may lose where the recipe sets no limit
REPEATS = 15
PROFILED = 5
TEACHER, PAPER, ALONE = "teacher", "paper's", "upsampler alone"


@dataclass(frozen=True)
class Artifacts:
    """What the stage wrote.

    Attributes:
        models: ONNX files.
        engines: TensorRT engines of them.
        absent: what could not be made here.
    """

    models: list[Model]
    engines: list[Engine]
    absent: list[Skipped]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return asdict(self)


def make(
    recipe: CompressRecipe,
    folder: Path,
    source: Path,
    workload: Workload,
    tune: Callable[[], Path] | None = None,
) -> Artifacts:
    """Write the student for every target and precision, and engines where TensorRT is.

    Args:
        recipe: precisions, limits and threads.
        folder: of the run.
        source: the student's float32 ONNX file.
        workload: the scene.
        tune: fine-tunes the student with quantisation simulated and returns its float32 ONNX file;
            called where the limits leave layers out of int8. None leaves it so.

    Raises:
        ExportError: a model that differs from the one before, or that TensorRT refuses.
    """
    shape = input_shape(source)
    builder = VariantBuilder(
        folder,
        calibration_tiles(workload.scene, shape),
        on_validation(workload.scene, shape),
        int8_limits(recipe),
        _threads(recipe),
        workload.example(recipe.latency_tile).numpy(),
    )
    models, absent = builder.make_all(
        source, recipe.targets.split(","), recipe.precisions.split(",")
    )
    if tune is not None and any(_left_out(model) for model in models):
        models = _tuned(builder, models, source, tune())
    with timed_stage("TensorRT engines"):
        engines, missing = build_engines(folder, models, recipe.compute_capability)
    return Artifacts(models, engines, absent + missing)


def int8_limits(recipe: CompressRecipe) -> Limits:
    """What int8 may lose on validation: the recipe's budget."""
    sam = DEFAULT_SAM_DROP if recipe.max_sam_drop is None else recipe.max_sam_drop
    return Limits(recipe.max_psnr_drop, sam)


def _left_out(model: Model) -> bool:
    return any(layer["reason"].startswith("left out") for layer in model.layers)


def _tuned(builder: VariantBuilder, models: list[Model], plain: Path, tuned: Path) -> list[Model]:
    """Make int8 again of fine-tuned weights; keep what then has more layers in int8.

    The limits hold against the network before it was tuned.
    """
    before, after = (builder.evaluate(session(path, builder.threads)) for path in (plain, tuned))
    lost = before["mpsnr"] - after["mpsnr"], after["sam"] - before["sam"]
    limits = Limits(builder.limits.psnr - lost[0], builder.limits.sam - lost[1])
    if min(limits.psnr, limits.sam) < 0:
        return models
    builder = replace(builder, limits=limits)
    kept = []
    for model in models:
        if not _left_out(model):
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
    recipe: CompressRecipe,
    folder: Path,
    made: Artifacts,
    workload: Workload,
    student: nn.Module,
    others: Mapping[str, nn.Module],
    scratch: Path,
) -> tuple[dict[str, Any], dict[str, Timing]]:
    """Measure what was made beside the uncompressed network and others, in one process.

    Args:
        recipe: tile and threads.
        folder: of the run.
        made: what to measure.
        workload: the scene and the uncompressed network.
        student: the network that the models must equal.
        others: by name, such as :data:`PAPER`, the paper's grouped network.
        scratch: folder for files that are needed meanwhile.

    Returns:
        ``deployment`` of the report, and the times of the baselines and of the student by name.
    """
    networks = {TEACHER: workload.model, **others}
    tile = workload.example(recipe.latency_tile)
    first = folder / made.models[0].path
    _check_tile(recipe.latency_tile, input_shape(first))
    with timed_stage("export what they are compared with"):
        strategies = tracing(first).strategies
        files = export_baselines(networks, workload.example(), scratch, tile, strategies)
    threads = _threads(recipe)
    entries, timings = measure_models(
        folder,
        made.models,
        made.engines,
        student,
        workload.scene,
        verification_inputs(workload),
        tile.numpy(),
        threads,
        open_baselines(files, threads, tile.shape),
        REPEATS,
    )
    deployment = {
        "input_shape": list(tile.shape),
        "threads": threads,
        "repeats": REPEATS,
        "models": entries,
        "engines": [asdict(engine) for engine in made.engines],
        "ratios": _ratios(entries, timings),
        "absent": [asdict(one) for one in made.absent],
    }
    return deployment, timings


def measure_in_torch(
    recipe: CompressRecipe, workload: Workload, student: nn.Module, others: Mapping[str, nn.Module]
) -> dict[str, Timing]:
    """Time networks that cannot be exported, in turn, in PyTorch; names as :func:`measure` has."""
    tile = workload.example(recipe.latency_tile)
    networks = {
        f"{name} {REWRITTEN}": one for name, one in {TEACHER: workload.model, **others}.items()
    }
    networks["student"] = student
    with timed_stage("time networks in PyTorch"):
        return time_calls(
            {name: in_torch(network, tile) for name, network in networks.items()}, REPEATS
        )


def _check_tile(side: int, shape: Shape) -> None:
    fixed = [length for length in shape[2:] if length not in (None, side)]
    if fixed:
        raise OptionError(
            f"the network fixes the size of its input to {shape[2]} x {shape[3]} pixels; leave out"
            " --tile"
        )


def _ratios(
    entries: Sequence[Mapping[str, Any]], timings: Mapping[str, Timing]
) -> list[dict[str, Any]]:
    """How much faster: by exact rewrites alone, and by everything together."""
    baselines = {name: timing.median_ms for name, timing in timings.items()}
    pairs = {}
    for network in (TEACHER, PAPER):
        plain, rewritten = f"{network} {PLAIN}", f"{network} {REWRITTEN}"
        if plain in baselines:
            name = f"exact rewrites, {network} network"
            pairs[name] = (plain, baselines[plain], rewritten, baselines[rewritten])
    timed = {
        f"student {entry['precision']}, {entry['runtime']}": entry["latency_ms"]["median"]
        for entry in entries
        if entry["latency_ms"]
    }
    best = min(timed, key=lambda name: timed[name])
    plain, naive = f"{TEACHER} {PLAIN}", f"{TEACHER} {OPENVINO}"
    for name in timed:
        if ONNX_RUNTIME in name and any(kind in name for kind in ("fp32", "int8")):
            pairs[name] = (plain, baselines[plain], name, timed[name])
    pairs.setdefault(best, (plain, baselines[plain], best, timed[best]))
    if naive in baselines:
        pairs["against OpenVINO bf16"] = (naive, baselines[naive], best, timed[best])
    return ratios(pairs)


def profile(
    recipe: CompressRecipe, folder: Path, made: Artifacts, workload: Workload, scratch: Path
) -> dict[str, Any]:
    """Return where the time of a call goes, layer by layer: ``profile`` of the report.

    Args:
        recipe: tile and threads.
        folder: of the run.
        made: whose models for the CPU are profiled.
        workload: the scene.
        scratch: where :func:`measure` has left the uncompressed network.
    """
    tile = workload.example(recipe.latency_tile).numpy()
    files = {TEACHER: scratch / baseline_file(TEACHER, PLAIN)}
    files |= {
        {"fp32": "student"}.get(model.precision, model.precision): folder / model.path
        for model in made.models
        if model.target == "cpu" and model.precision in ("fp32", "int8")
    }
    with timed_stage("profile"):
        networks = [
            {
                "name": name,
                "layers": [asdict(node) for node in node_times(path, tile, runs=PROFILED)],
            }
            for name, path in files.items()
        ]
    return {
        "runtime": ONNX_RUNTIME,
        "input_shape": list(tile.shape),
        "threads": 1,
        "runs": PROFILED,
        "networks": networks,
    }


def student_time(deployment: Mapping[str, Any]) -> Timing:
    """The time of the student in float32 on ONNX Runtime, which is always made."""
    entry = next(
        one
        for one in deployment["models"]
        if (one["runtime"], one["precision"]) == (ONNX_RUNTIME, "fp32")
    )
    found = entry["latency_ms"]
    return Timing(found["median"], found["p95"], math.nan, deployment["repeats"])


def verification_inputs(workload: Workload) -> list[Tensor]:
    """Return real and adversarial LR inputs: a test window, zeros, ones, a step, odd noise."""
    return [window_corner(workload), *adversarial_images(len(workload.scene.bands)).values()]


def _threads(recipe: CompressRecipe) -> int:
    return recipe.threads or torch.get_num_threads()
