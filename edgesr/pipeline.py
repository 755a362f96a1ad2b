"""The way of the data: teacher -> sites -> spectrum -> candidates -> student -> ONNX -> report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgesr.cost import count
from edgesr.distill.trainer import TrainResult, train
from edgesr.entries import (
    candidate_entry,
    cost_entry,
    distillation_entry,
    file_entry,
    latency_entry,
    pass_entry,
    site_entry,
    spectrum_entry,
    why,
)
from edgesr.errors import ModelError, OptionError
from edgesr.evaluate import evaluate, evaluate_bicubic
from edgesr.job import LR_PATCH, Job, check_fit, open_job
from edgesr.latency import Timing, measure
from edgesr.progress import stage, track
from edgesr.recipe import CompressRecipe
from edgesr.report import SCHEMA_VERSION, environment, validate
from edgesr.run import ONNX, RECIPE, STUDENT, RunFolder
from edgesr.surgery import (
    Candidate,
    Moments,
    Site,
    Spectrum,
    all_moments,
    choose,
    factorise,
    groups_for_rank,
    require_sites,
    spectrum,
    walk,
)
from edgesr.training import train_config
from edgesr.weights import load_network, save_network
from export.onnx import OPSET, applied_rewrites, export_onnx
from export.refill import refill
from export.runtime import session
from export.verify import Agreement, compare

CALIBRATION_WINDOWS = 50_000  # windows of the upsampler's input that the closed form sees
NAIVE = "teacher-naive.onnx"  # the uncompressed network as torch exports it, without our rewrites


@dataclass(frozen=True)
class Surgeon:
    """The network under the knife, with all that its candidates share."""

    job: Job
    sites: Sequence[Site]
    spectra: Mapping[str, Spectrum]
    moments: Mapping[str, Moments] | None
    factorisations: Mapping[str, Any]

    def operate(self, candidate: Candidate) -> nn.Module:
        """Return the network after a candidate's surgery, in closed form."""
        student, _ = candidate.perform(
            self.job.model, self.sites, self.moments, self.factorisations
        )
        return student.eval()

    def groups(self, candidate: Candidate) -> dict[str, int]:
        """Return the groups that a grouped candidate gives its layers, by the layer's weight."""
        if candidate.method != "grouped":
            return {}
        return {
            f"{layer}.weight": candidate.settings[site.name]
            for site in self.sites
            if site.name in candidate.settings
            for layer in site.layers
        }


def run(
    recipe: CompressRecipe, output: Path | None, *, overwrite: bool, resume: bool
) -> dict[str, Any]:
    """Do the whole job; see :func:`edgesr.compress.compress`."""
    folder = RunFolder(output, overwrite=overwrite, resume=resume)
    with folder.timed("open"):
        job = open_job(recipe)
        sites = require_sites(job.model, job.example())
        guide = _open_guide(recipe, job)
    with folder.timed("spectrum"):
        spectra = {site.name: spectrum(job.model, site) for site in sites}
        candidates = plan(recipe, sites, spectra)
    folder.create(recipe)
    try:
        return _run(recipe, folder, job, sites, spectra, candidates, guide)
    except Exception as error:
        if isinstance(error, MemoryError) or hasattr(error, "exit_code"):
            folder.abandon()
        raise


def _run(
    recipe: CompressRecipe,
    folder: RunFolder,
    job: Job,
    sites: Sequence[Site],
    spectra: Mapping[str, Spectrum],
    candidates: list[Candidate],
    guide: nn.Module,
) -> dict[str, Any]:
    with folder.timed("calibrate"), stage("calibrate on training patches"):
        surgeon = calibrate(recipe, job, sites, spectra)
    with folder.timed("baselines"), stage("measure teacher and bicubic"):
        bicubic = evaluate_bicubic(job.scene)
        original = evaluate(job.model, job.scene)
    with folder.timed("candidates"):
        candidates = _measured(recipe, folder, surgeon, candidates)
    chosen = _choose(candidates, recipe)
    with folder.timed("distil"):
        student, training = _distil(recipe, folder, surgeon, chosen, guide)
    baseline = next(
        (c for c in candidates if (c.method, c.setting) == ("grouped", recipe.baseline_groups)),
        None,
    )
    rival: tuple[nn.Module, TrainResult] | None = None
    if baseline is not None:
        with folder.timed("distil the paper's"):
            same = baseline is chosen
            rival = (
                (student, training) if same else _distil(recipe, folder, surgeon, baseline, guide)
            )
    with folder.timed("export"), stage("export and verify"):
        agreement = _export(folder, job, student, training)
    with folder.timed("latency"), stage("measure latency"):
        files = {
            "naive": folder.state(NAIVE),
            "teacher": folder.state("teacher.onnx"),
            "student": folder.path / ONNX,
        }
        if baseline is not None:
            files["baseline"] = folder.state(f"{_file_name(baseline)}.onnx")
        timings = _latencies(recipe, job, files, repeats=30)

    tile = job.example(recipe.latency_tile)
    threads = recipe.threads or torch.get_num_threads()

    def network(model: nn.Module, name: str, metrics: Mapping[str, float]) -> dict[str, Any]:
        cost = count(model, tuple(job.example().shape))
        return {
            **cost_entry(cost),
            "metrics": dict(metrics),
            "latency_ms": latency_entry(timings[name], tile, threads),
        }

    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "folder": str(folder.path),
        "data": job.scene.describe(),
        "environment": environment(recipe.device, torch.get_num_threads()),
        "bicubic": {"metrics": bicubic},
        "teacher": {
            "model": job.network,
            "weights": job.weights,
            **network(job.model, "teacher", original),
            "naive_latency_ms": latency_entry(timings["naive"], tile, threads),
        },
        "student": {
            "model": job.network,
            "weights": STUDENT,
            **network(student, "student", evaluate(student, job.scene)),
        },
        "sites": [site_entry(site) for site in sites],
        "spectrum": [spectrum_entry(name, spectra[name], recipe.rank_target) for name in spectra],
        "candidates": [candidate_entry(c, chosen, recipe) for c in candidates],
        "chosen": {**pass_entry(chosen), "why": why(chosen, recipe)},
        "distillation": distillation_entry(training),
        "paper_baseline": None,
        "onnx": {
            "path": ONNX,
            "opset": OPSET,
            "max_abs_difference": agreement.max_abs_difference,
            "inputs": [list(shape) for shape in agreement.inputs],
            "rewrites": applied_rewrites(folder.path / ONNX),
        },
        "timing_s": folder.timing,
        "recipe": {key: v for key, v in recipe.to_dict().items() if v is not None},
        "files": [file_entry(folder.path / name) for name in (STUDENT, ONNX, RECIPE)],
    }
    if rival is not None and baseline is not None:
        report["paper_baseline"] = {
            "groups": baseline.setting,
            **network(rival[0], "baseline", evaluate(rival[0], job.scene)),
            "distillation": distillation_entry(rival[1]),
        }
    validate(report)
    folder.finish(report)
    return report


def _open_guide(recipe: CompressRecipe, job: Job) -> nn.Module:
    """Open the network to distil from: the deeper one that was named, or the original."""
    if recipe.teacher is None:
        return job.model
    factory = recipe.model if ":" in recipe.model else None
    guide = load_network(Path(recipe.teacher), factory).model.eval()
    try:
        check_fit(guide, job.example(), job.scene.scale)
    except ModelError as error:
        raise ModelError(f"--teacher {recipe.teacher} does not fit: {error}") from error
    return guide


def plan(
    recipe: CompressRecipe, sites: Sequence[Site], spectra: Mapping[str, Spectrum]
) -> list[Candidate]:
    """List the surgeries that a recipe wants measured, largest first.

    Raises:
        OptionError: what the recipe asks for is impossible, or not smaller than the layers.
    """
    starts = {
        name: found.rank(recipe.rank_target, recipe.rank_criterion)
        for name, found in spectra.items()
    }
    if recipe.groups is not None and recipe.rank is not None:
        raise OptionError("--groups and --rank contradict each other; pass one of them")
    if recipe.groups is not None:
        return _exactly(recipe.groups, walk(sites, starts, ("grouped",)), "--groups")
    if recipe.rank is not None:
        first = next(iter(walk(sites, recipe.rank, ("lowrank",))), None)
        return _exactly(-(-recipe.rank // 8) * 8, [first] if first else [], "--rank")
    wanted = ("lowrank", "grouped") if recipe.method == "auto" else (recipe.method,)
    candidates = list(walk(sites, starts, wanted))
    if recipe.exact_target:
        rank = -(-max(starts.values()) // 8) * 8
        groups = min(groups_for_rank(site, starts[site.name]) for site in sites)
        settings = {"lowrank": rank, "grouped": groups}
        candidates = [c for c in candidates if settings[c.method] == c.setting]
        if not candidates:
            raise OptionError(
                f"nothing at the target's own rank {rank} (groups {groups}) is smaller than the"
                " layers; leave out --exact-target, lower --rank-target, or pass"
                " --rank-criterion energy"
            )
    if not candidates:
        advice = "there is nothing to gain" if recipe.method == "auto" else "pass --method auto"
        raise OptionError(f"no {recipe.method} surgery makes the upsampler smaller; {advice}")
    return candidates


def _exactly(setting: int, offered: Any, option: str) -> list[Candidate]:
    candidates = list(offered)
    found = [c for c in candidates if c.setting == setting]
    if not found:
        valid = ", ".join(str(c.setting) for c in candidates)
        below = " or less" if option == "--rank" else ""
        advice = f"choose {valid}{below}" if valid else "nothing does"
        raise OptionError(f"{option} {setting} does not make the upsampler smaller; {advice}")
    return found


def _choose(candidates: list[Candidate], recipe: CompressRecipe) -> Candidate:
    """Take the fastest within the budget; a setting that was asked for has none to keep."""
    if recipe.is_forced:
        return choose(candidates, math.inf)
    return choose(candidates, recipe.max_psnr_drop, recipe.max_sam_drop, recipe.method)


def calibrate(
    recipe: CompressRecipe, job: Job, sites: Sequence[Site], spectra: Mapping[str, Spectrum]
) -> Surgeon:
    """Gather what the closed forms need of the training data, and decompose each site once."""
    moments = None
    if recipe.init == "data":
        order = torch.randperm(
            len(job.scene.train), generator=torch.Generator().manual_seed(recipe.seed)
        )
        patches = (job.scene.pair(job.scene.train[i])[0] for i in order.tolist())
        moments = all_moments(job.model, sites, patches, CALIBRATION_WINDOWS)
    shared = {
        site.name: factorise(job.model, site, moments[site.name] if moments else None)
        for site in sites
    }
    return Surgeon(job, sites, spectra, moments, shared)


def _measured(
    recipe: CompressRecipe, folder: RunFolder, surgeon: Surgeon, candidates: list[Candidate]
) -> list[Candidate]:
    """Fill in the candidates' cost, drop on validation and latency; once a run."""

    def compute() -> list[dict[str, Any]]:
        job = surgeon.job
        before = evaluate(job.model, job.scene, "validation")
        tile = job.example(recipe.latency_tile)
        original = _static_onnx(folder, tile, "teacher", job.model)
        export_onnx(job.model, tile, folder.state(NAIVE), dynamic=False, rewrite=False)
        files = {"": original}
        families: dict[tuple[str, ...], tuple[Path, nn.Module]] = {}
        for candidate in track(candidates, "measure candidates"):
            student = surgeon.operate(candidate)
            after = evaluate(student, job.scene, "validation")
            candidate.psnr_drop = before["mpsnr"] - after["mpsnr"]
            candidate.sam_drop = after["sam"] - before["sam"]
            cost = count(student, tuple(job.example().shape))
            candidate.params, candidate.macs = cost.params, cost.macs
            candidate.upsampler_params = cost.upsampler_params
            groups = surgeon.groups(candidate)
            family = tuple(sorted(candidate.settings))  # groups change no graph, low ranks do once
            relative = (original, job.model) if groups else families.get(family)
            path = _static_onnx(folder, tile, _file_name(candidate), student, relative, groups)
            if not groups:
                families.setdefault(family, (path, student))
            files[candidate.label] = path
        with stage("time candidates"):
            timings = _latencies(recipe, job, files, repeats=15)
        for candidate in candidates:
            candidate.latency_ms = timings[candidate.label].median_ms
        return [asdict(candidate) for candidate in candidates]

    return [Candidate(**values) for values in folder.remember("candidates", compute)]


def _static_onnx(
    folder: RunFolder,
    tile: Tensor,
    name: str,
    model: nn.Module,
    relative: tuple[Path, nn.Module] | None = None,
    groups: Mapping[str, int] | None = None,
) -> Path:
    """Export for one input size, or refill the file of a relative that has the same graph."""
    path = folder.state(f"{name}.onnx")
    if relative is None or not refill(
        relative[0], _arrays(relative[1]), _arrays(model), path, groups
    ):
        export_onnx(model, tile, path, dynamic=False)
    compare(path, model, [tile])
    return path


def _arrays(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}


def _file_name(candidate: Candidate) -> str:
    return f"{candidate.method}-{candidate.setting}"


def _latencies(
    recipe: CompressRecipe, job: Job, files: Mapping[str, Path], repeats: int
) -> dict[str, Timing]:
    threads = recipe.threads or torch.get_num_threads()
    tile = job.example(recipe.latency_tile).numpy()
    sessions = {name: session(path, threads) for name, path in files.items()}
    return measure({name: partial(run, tile) for name, run in sessions.items()}, repeats)


def _distil(
    recipe: CompressRecipe,
    folder: RunFolder,
    surgeon: Surgeon,
    candidate: Candidate,
    guide: nn.Module,
) -> tuple[nn.Module, TrainResult]:
    """Fine-tune a candidate; validation decides, so the closed form is the least that comes out."""
    config = replace(
        train_config(recipe),
        final_learning_rate=recipe.learning_rate / 10,
        warmup_steps=recipe.steps_per_epoch,  # Adam knows nothing of a trained network yet
    )
    with stage(f"distil {candidate.label}"):
        result = train(
            surgeon.operate(candidate),
            [surgeon.job.scene],
            config,
            teacher=guide,
            sites=surgeon.sites,
            checkpoint=folder.state(f"{_file_name(candidate)}.checkpoint"),
            resume=True,
        )
    return result.model.cpu().eval(), result


def _export(folder: RunFolder, job: Job, student: nn.Module, training: TrainResult) -> Agreement:
    """Write the student's two files, and compare what ONNX Runtime makes of the second."""
    save_network(
        student,
        folder.path / STUDENT,
        data=job.scene.describe(),
        training={"teacher": job.weights, "best": training.best},
    )
    path = export_onnx(student, job.example(), folder.path / ONNX)
    return compare(path, student, verification_inputs(job))


def verification_inputs(job: Job) -> list[Tensor]:
    """Return real and adversarial LR inputs: a test window, zeros, ones, a step, odd noise.

    Of a large window only a corner: ONNX Runtime holds whole attention maps.
    """
    real, _ = job.scene.pair(job.scene.test[0])
    bands, side = real.shape[0], 2 * LR_PATCH
    real = real[:, :side, :side]
    step = torch.zeros(1, bands, LR_PATCH, LR_PATCH)
    step[..., LR_PATCH // 2 :] = 1
    noise = torch.rand(2, bands, 13, 17, generator=torch.Generator().manual_seed(0))
    flat = torch.ones(1, bands, LR_PATCH, LR_PATCH)
    return [real[None], torch.zeros_like(flat), flat, step, noise]
