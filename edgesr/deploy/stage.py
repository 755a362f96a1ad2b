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
    Absent,
    Engine,
    Limits,
    Maker,
    Model,
    build_engines,
    calibration_tiles,
    export_rivals,
    measure_models,
    on_validation,
    open_rivals,
    ratios,
)
from edgesr.deploy.baselines import OPENVINO, rival_file
from edgesr.deploy.inputs import adversarial_images, window_corner
from edgesr.deploy.measure import ONNX_RUNTIME
from edgesr.errors import OptionError
from edgesr.evaluation.latency import Timing, in_torch
from edgesr.evaluation.latency import measure as time_calls
from edgesr.loading.workload import Job
from edgesr.progress import stage
from edgesr.recipe.recipes import CompressRecipe

DEFAULT_SAM_DROP = 0.05  # degrees that int8 may lose where the recipe sets no limit
REPEATS = 15
PROFILED = 5
TEACHER, BASELINE, ALONE = "teacher", "paper's", "upsampler alone"


@dataclass(frozen=True)
class Made:
    """What the stage wrote.

    Attributes:
        models: ONNX files.
        engines: TensorRT engines of them.
        absent: what could not be made here.
    """

    models: list[Model]
    engines: list[Engine]
    absent: list[Absent]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return asdict(self)


def make(
    recipe: CompressRecipe,
    folder: Path,
    source: Path,
    job: Job,
    tune: Callable[[], Path] | None = None,
) -> Made:
    """Write the student for every target and precision, and engines where TensorRT is.

    Args:
        recipe: precisions, limits and threads.
        folder: of the run.
        source: the student's float32 ONNX file.
        job: the scene.
        tune: fine-tunes the student with quantisation simulated and returns its float32 ONNX file;
            called where the limits leave layers out of int8. None leaves it so.

    Raises:
        ExportError: a model that differs from the one before, or that TensorRT refuses.
    """
    shape = input_shape(source)
    maker = Maker(
        folder,
        calibration_tiles(job.scene, shape),
        on_validation(job.scene, shape),
        int8_limits(recipe),
        _threads(recipe),
        job.example(recipe.latency_tile).numpy(),
    )
    models, absent = maker.make_all(source, recipe.targets.split(","), recipe.precisions.split(","))
    if tune is not None and any(_left_out(model) for model in models):
        models = _tuned(maker, models, source, tune())
    with stage("TensorRT engines"):
        engines, missing = build_engines(folder, models, recipe.compute_capability)
    return Made(models, engines, absent + missing)


def int8_limits(recipe: CompressRecipe) -> Limits:
    """What int8 may lose on validation: the recipe's budget."""
    sam = DEFAULT_SAM_DROP if recipe.max_sam_drop is None else recipe.max_sam_drop
    return Limits(recipe.max_psnr_drop, sam)


def _left_out(model: Model) -> bool:
    return any(layer["reason"].startswith("left out") for layer in model.layers)


def _tuned(maker: Maker, models: list[Model], plain: Path, tuned: Path) -> list[Model]:
    """Make int8 again of fine-tuned weights; keep what then has more layers in int8.

    The limits hold against the network before it was tuned.
    """
    before, after = (maker.evaluate(session(path, maker.threads)) for path in (plain, tuned))
    lost = before["mpsnr"] - after["mpsnr"], after["sam"] - before["sam"]
    limits = Limits(maker.limits.psnr - lost[0], maker.limits.sam - lost[1])
    if min(limits.psnr, limits.sam) < 0:
        return models
    maker = replace(maker, limits=limits)
    kept = []
    for model in models:
        if not _left_out(model):
            kept.append(model)
            continue
        path = maker.folder / model.path
        content = path.read_bytes()
        again = maker.make(tuned, model.target, model.precision)
        if again is not None and again.counts.get("int8", 0) > model.counts.get("int8", 0):
            kept.append(replace(again, tuned=True))
        else:
            path.write_bytes(content)
            kept.append(model)
    return kept


def measure(
    recipe: CompressRecipe,
    folder: Path,
    made: Made,
    job: Job,
    student: nn.Module,
    others: Mapping[str, nn.Module],
    scratch: Path,
) -> tuple[dict[str, Any], dict[str, Timing]]:
    """Measure what was made beside the uncompressed network and others, in one process.

    Args:
        recipe: tile and threads.
        folder: of the run.
        made: what to measure.
        job: the scene and the uncompressed network.
        student: the network that the models must equal.
        others: by name, such as :data:`BASELINE`, the paper's grouped network.
        scratch: folder for files that are needed meanwhile.

    Returns:
        ``deployment`` of the report, and the times of the rivals and of the student by name.
    """
    networks = {TEACHER: job.model, **others}
    tile = job.example(recipe.latency_tile)
    first = folder / made.models[0].path
    _check_tile(recipe.latency_tile, input_shape(first))
    with stage("export what they are compared with"):
        rungs = tracing(first).rungs
        files = export_rivals(networks, job.example(), scratch, tile, rungs)
    threads = _threads(recipe)
    entries, timings = measure_models(
        folder,
        made.models,
        made.engines,
        student,
        job.scene,
        verification_inputs(job),
        tile.numpy(),
        threads,
        open_rivals(files, threads, tile.shape),
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
    recipe: CompressRecipe, job: Job, student: nn.Module, others: Mapping[str, nn.Module]
) -> dict[str, Timing]:
    """Time networks that cannot be exported, in turn, in PyTorch; names as :func:`measure` has."""
    tile = job.example(recipe.latency_tile)
    networks = {f"{name} {REWRITTEN}": one for name, one in {TEACHER: job.model, **others}.items()}
    networks["student"] = student
    with stage("time networks in PyTorch"):
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
    rivals = {name: timing.median_ms for name, timing in timings.items()}
    pairs = {}
    for network in (TEACHER, BASELINE):
        plain, rewritten = f"{network} {PLAIN}", f"{network} {REWRITTEN}"
        if plain in rivals:
            name = f"exact rewrites, {network} network"
            pairs[name] = (plain, rivals[plain], rewritten, rivals[rewritten])
    timed = {
        f"student {entry['precision']}, {entry['runtime']}": entry["latency_ms"]["median"]
        for entry in entries
        if entry["latency_ms"]
    }
    best = min(timed, key=lambda name: timed[name])
    plain, naive = f"{TEACHER} {PLAIN}", f"{TEACHER} {OPENVINO}"
    for name in timed:
        if ONNX_RUNTIME in name and any(kind in name for kind in ("fp32", "int8")):
            pairs[name] = (plain, rivals[plain], name, timed[name])
    pairs.setdefault(best, (plain, rivals[plain], best, timed[best]))
    if naive in rivals:
        pairs["against OpenVINO bf16"] = (naive, rivals[naive], best, timed[best])
    return ratios(pairs)


def profile(
    recipe: CompressRecipe, folder: Path, made: Made, job: Job, scratch: Path
) -> dict[str, Any]:
    """Return where the time of a call goes, layer by layer: ``profile`` of the report.

    Args:
        recipe: tile and threads.
        folder: of the run.
        made: whose models for the CPU are profiled.
        job: the scene.
        scratch: where :func:`measure` has left the uncompressed network.
    """
    tile = job.example(recipe.latency_tile).numpy()
    files = {TEACHER: scratch / rival_file(TEACHER, PLAIN)}
    files |= {
        {"fp32": "student"}.get(model.precision, model.precision): folder / model.path
        for model in made.models
        if model.target == "cpu" and model.precision in ("fp32", "int8")
    }
    with stage("profile"):
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


def verification_inputs(job: Job) -> list[Tensor]:
    """Return real and adversarial LR inputs: a test window, zeros, ones, a step, odd noise."""
    return [window_corner(job), *adversarial_images(len(job.scene.bands)).values()]


def _threads(recipe: CompressRecipe) -> int:
    return recipe.threads or torch.get_num_threads()
