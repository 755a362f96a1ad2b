"""The way of the data: teacher -> sites -> spectrum -> candidates -> student -> ONNX -> report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgesr import deployment
from edgesr.bundle import bundle_report
from edgesr.cost import count
from edgesr.deploy import PLAIN, REWRITTEN
from edgesr.deploy.quality import Foreign
from edgesr.deployment import BASELINE, TEACHER, Made, verification_inputs
from edgesr.distill.config import TrainConfig
from edgesr.distill.quantisation import quantisation_aware
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
from edgesr.job import Job, check_fit, open_job
from edgesr.pictures import take_pictures
from edgesr.progress import stage
from edgesr.recipe import CompressRecipe
from edgesr.report import SCHEMA_VERSION, environment, validate
from edgesr.report.page import write_page
from edgesr.report.pictures import Pictures
from edgesr.run import ONNX, PAGE, PICTURES, RECIPE, STUDENT, RunFolder
from edgesr.surgery import Candidate, Site, Spectrum, require_sites, spectrum
from edgesr.surgery.structure import clone
from edgesr.training import train_config
from edgesr.trials import Surgeon, calibrate, file_name, measured, plan, take
from edgesr.weights import load_network, save_network
from export.onnx import OPSET, applied_rewrites, export_onnx
from export.runtime import session
from export.verify import Agreement, compare


def run(
    recipe: CompressRecipe, output: Path | None, *, overwrite: bool, resume: bool
) -> dict[str, Any]:
    """Do the whole job; see :func:`edgesr.compress.compress`."""
    if recipe.bundle and "tensorrt" not in recipe.targets:
        raise OptionError("--bundle packs models for TensorRT; name tensorrt among --targets")
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
        candidates = measured(recipe, folder, surgeon, candidates)
    chosen = take(candidates, recipe)
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
    with folder.timed("deploy"):
        made = _make(recipe, folder, job, sites, student, guide)
    with folder.timed("measure"):
        table, timings = deployment.measure(
            recipe, folder.path, made, job, student, rival and rival[0], folder.state("")
        )
        profile = deployment.profile(recipe, folder.path, made, job, folder.state(""))
    with folder.timed("pictures"), stage("pictures of the test region"):
        pictures = _pictures(folder, job, student, made)

    tile = job.example(recipe.latency_tile)
    threads = table["threads"]
    timings["student"] = deployment.student_time(table)

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
            **network(job.model, f"{TEACHER} {REWRITTEN}", original),
            "naive_latency_ms": latency_entry(timings[f"{TEACHER} {PLAIN}"], tile, threads),
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
        "deployment": table,
        "profile": profile,
        "timing_s": folder.timing,
        "recipe": {key: v for key, v in recipe.to_dict().items() if v is not None},
        "files": [file_entry(folder.path / name) for name in (STUDENT, ONNX, RECIPE, PICTURES)],
    }
    if rival is not None and baseline is not None:
        report["paper_baseline"] = {
            "groups": baseline.setting,
            **network(rival[0], f"{BASELINE} {REWRITTEN}", evaluate(rival[0], job.scene)),
            "distillation": distillation_entry(rival[1]),
        }
    validate(report)
    write_page(report, pictures, folder.path / PAGE)
    if recipe.bundle:
        bundle_report(folder.path, report, overwrite=True)
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


def _config(recipe: CompressRecipe) -> TrainConfig:
    return replace(
        train_config(recipe),
        final_learning_rate=recipe.learning_rate / 10,
        warmup_steps=recipe.steps_per_epoch,  # Adam knows nothing of a trained network yet
    )


def _distil(
    recipe: CompressRecipe,
    folder: RunFolder,
    surgeon: Surgeon,
    candidate: Candidate,
    guide: nn.Module,
) -> tuple[nn.Module, TrainResult]:
    """Fine-tune a candidate; validation decides, so the closed form is the least that comes out."""
    with stage(f"distil {candidate.label}"):
        result = train(
            surgeon.operate(candidate),
            [surgeon.job.scene],
            _config(recipe),
            teacher=guide,
            sites=surgeon.sites,
            checkpoint=folder.state(f"{file_name(candidate)}.checkpoint"),
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


def _make(
    recipe: CompressRecipe,
    folder: RunFolder,
    job: Job,
    sites: Sequence[Site],
    student: nn.Module,
    guide: nn.Module,
) -> Made:
    """Write the models and engines; once a run."""

    def tune() -> Path:
        with stage("fine-tune with quantisation simulated"):
            tuned = quantisation_aware(
                clone(student),
                [job.scene],
                _config(recipe),
                sites=sites,
                teacher=guide,
                checkpoint=folder.state("qat.checkpoint"),
                resume=True,
            )
        return export_onnx(tuned.model.cpu().eval(), job.example(), folder.state("qat.onnx"))

    def compute() -> dict[str, Any]:
        source, tuner = folder.path / ONNX, tune if recipe.qat else None
        return deployment.make(recipe, folder.path, source, job, tuner).to_dict()

    return Made.from_dict(folder.remember("deployment", compute))


def _pictures(folder: RunFolder, job: Job, student: nn.Module, made: Made) -> Pictures:
    """Show the test region as each network makes it; int8 is the first that was made."""
    networks: dict[str, nn.Module] = {"teacher": job.model, "student": student}
    for model in made.models:
        if model.precision == "int8":
            networks.setdefault("int8", Foreign(session(folder.path / model.path)))
    pictures = take_pictures(job.scene, networks)
    pictures.save(folder.path / PICTURES)
    return pictures
