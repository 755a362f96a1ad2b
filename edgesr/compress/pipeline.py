"""The way of the data: teacher -> sites -> spectrum -> candidates -> student -> ONNX -> report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from edgesr_export.errors import ExportError
from edgesr_export.runner import ONNX_RUNTIME, open_runner
from edgesr_export.sizes import input_shape
from torch import nn

from edgesr.compress.candidates import (
    CalibratedModel,
    calibrate,
    enumerate_candidates,
    measure_candidates,
)
from edgesr.compress.deploy_config import deploy_config
from edgesr.compress.pictures import take_pictures
from edgesr.compress.students import Student, check_search, make_students
from edgesr.compress.surgery_config import budget_of, surgery_options
from edgesr.compress.training_config import student_config
from edgesr.deploy import PLAIN, REWRITTEN
from edgesr.deploy import stage as deployment
from edgesr.deploy.bundle import board_target, bundle_report
from edgesr.deploy.inputs import write_network
from edgesr.deploy.quality import SessionModule
from edgesr.deploy.stage import ALONE, PAPER, TEACHER, Artifacts
from edgesr.distill.quantisation import quantisation_aware
from edgesr.distill.trainer import TrainResult
from edgesr.errors import ModelError, OptionError
from edgesr.evaluation.cost import count
from edgesr.evaluation.evaluate import evaluate, evaluate_bicubic
from edgesr.loading.header import require_storable
from edgesr.loading.standalone import write_loader
from edgesr.loading.weights import has_header, load_custom, load_network, save_network
from edgesr.loading.workload import Workload, check_trains, files_read, fit, open_workload
from edgesr.progress import log, timed_stage
from edgesr.recipe.recipes import CompressRecipe
from edgesr.report import environment, validate, validate_data
from edgesr.report.build import NetworkResult, RunResult, StudentResult, build_report
from edgesr.report.entries import IN_TORCH, RUNTIME, Conditions, Selection, onnx_entry
from edgesr.report.model import OnnxFile
from edgesr.report.page import write_page
from edgesr.report.pictures import Pictures
from edgesr.run_folder import LOADER, ONNX, PAGE, PICTURES, RECIPE, STUDENT, RunFolder
from edgesr.surgery import Candidate, Site, Spectrum, require_sites, spectrum
from edgesr.surgery.structure import clone


def run(
    recipe: CompressRecipe,
    output: Path | None,
    *,
    overwrite: bool,
    resume: bool,
    reads: Sequence[Path] = (),
) -> dict[str, Any]:
    """Do the whole job; see :func:`edgesr.compress.compress`."""
    if recipe.bundle and (board := board_target()).name not in recipe.targets:
        raise OptionError(
            f"--bundle packs models for {board.label}; name {board.name} among --targets"
        )
    options = surgery_options(recipe)
    check_search(recipe)
    inputs = [*files_read(recipe), *reads]
    folder = RunFolder(output, overwrite=overwrite, resume=resume, inputs=inputs)
    with folder.timed("open"):
        workload = open_workload(recipe)
        described = workload.scene.describe()
        validate_data(described)
        require_storable(described)
        sites = require_sites(workload.model, workload.example())
        if recipe.epochs:
            check_trains(workload.model, workload.example())
        teacher = _open_teacher(recipe, workload)
    with folder.timed("spectrum"):
        spectra = {site.name: spectrum(workload.model, site) for site in sites}
        candidates = enumerate_candidates(options, sites, spectra)
    try:
        folder.create(recipe)
        if resume and folder.is_complete:
            return folder.publish()
        try:
            return _run(recipe, folder, workload, sites, spectra, candidates, teacher)
        except Exception as error:
            if isinstance(error, MemoryError) or hasattr(error, "exit_code"):
                folder.fail(error)
            raise
    finally:
        folder.release()


def _run(
    recipe: CompressRecipe,
    folder: RunFolder,
    workload: Workload,
    sites: Sequence[Site],
    spectra: Mapping[str, Spectrum],
    candidates: list[Candidate],
    teacher: nn.Module,
) -> dict[str, Any]:
    with folder.timed("calibrate"), timed_stage("calibrate on training patches"):
        methods = dict.fromkeys(candidate.method for candidate in candidates)
        seed = recipe.seed if recipe.init == "data" else None
        calibrated = calibrate(workload, sites, spectra, methods, seed)
    with folder.timed("baselines"), timed_stage("measure teacher and bicubic"):
        bicubic = evaluate_bicubic(workload.scene)
        original = evaluate(workload.model, workload.scene)
    with folder.timed("candidates"):
        candidates = _measured(recipe, folder, calibrated, candidates)
    students = make_students(recipe, folder, calibrated, candidates, teacher)
    student, training = students.student.model, students.student.training
    others = {name: baseline.model for name, baseline in students.baselines.items()}
    with folder.timed("export"), timed_stage("export and verify"):
        onnx = _export(recipe, folder, workload, student, training)
    table = profile = None
    if not isinstance(onnx, str):
        with folder.timed("deploy"):
            made = _make(recipe, folder, workload, sites, student, teacher)
        with folder.timed("measure"):
            config = deploy_config(recipe)
            table, timings = deployment.measure(
                config, folder.draft, made, workload, student, others, folder.state("")
            )
            profile = deployment.profile(config, folder.draft, made, workload, folder.state(""))
        timings["student"] = deployment.student_time(table)
    else:
        made = Artifacts([], [], [])
        with folder.timed("measure"):
            timings = deployment.measure_in_torch(recipe.latency_tile, workload, student, others)
    with folder.timed("pictures"), timed_stage("pictures of the test region"):
        pictures = _pictures(folder, workload, student, made)

    def compressed(one: Student, timing: str) -> StudentResult:
        metrics = evaluate(one.model, workload.scene)
        network = NetworkResult(count(one.model, example), metrics, timings[timing])
        return StudentResult(network, one.upsampler, one.training)

    example = tuple(workload.example().shape)
    baselines = {
        name: compressed(one, f"{name} {REWRITTEN}") for name, one in students.baselines.items()
    }
    search = None
    if students.search is not None:
        from edgesr.compress.search import search_entry

        search = search_entry(students.search, budget_of(recipe), recipe.seed)
    report = build_report(
        RunResult(
            folder=folder.path,
            data=workload.scene.describe(),
            environment=environment(recipe.device, torch.get_num_threads()),
            network=workload.network,
            weights=(workload.weights, STUDENT),
            bicubic=bicubic,
            teacher=NetworkResult(
                count(workload.model, example),
                original,
                timings[f"{TEACHER} {REWRITTEN}"],
                timings.get(f"{TEACHER} {PLAIN}"),
            ),
            student=compressed(students.student, "student"),
            paper=baselines.get(PAPER),
            alone=baselines.get(ALONE),
            conditions=Conditions(
                tuple(workload.example(recipe.latency_tile).shape),
                recipe.threads or torch.get_num_threads(),
                IN_TORCH if isinstance(onnx, str) else RUNTIME,
            ),
            sites=sites,
            spectra=spectra,
            rank_target=recipe.rank_target,
            candidates=candidates,
            selection=Selection(
                recipe.max_psnr_drop, recipe.max_sam_drop, recipe.is_forced, recipe.searches
            ),
            onnx=onnx,
            deployment=table,
            profile=profile,
            search=search,
            timing_s=folder.timing,
            recipe={key: v for key, v in recipe.to_dict().items() if v is not None},
            files=[
                folder.draft / name
                for name in (STUDENT, LOADER, ONNX, RECIPE, PICTURES)
                if (folder.draft / name).is_file()
            ],
        )
    )
    content = report.to_dict()
    validate(content)
    write_page(report, pictures, folder.draft / PAGE)
    if recipe.bundle:
        if any(model.target == board_target().name for model in made.models):
            bundle_report(folder.draft, report, overwrite=True)
        else:
            log(
                f"no bundle: no model for {board_target().label} came out, for the reasons given as"
                " 'absent'"
            )
    folder.finish(content)
    return content


def _measured(
    recipe: CompressRecipe,
    folder: RunFolder,
    calibrated: CalibratedModel,
    candidates: list[Candidate],
) -> list[Candidate]:
    """Measure the candidates; once a run."""

    def compute() -> list[dict[str, Any]]:
        tile = calibrated.workload.example(recipe.latency_tile)
        threads = recipe.threads or torch.get_num_threads()
        measured = measure_candidates(calibrated, candidates, tile, threads, folder.state(""))
        return [asdict(candidate) for candidate in measured]

    asked = [(one.method, one.setting, one.settings) for one in candidates]

    def planned(found: list[Candidate]) -> bool:
        complete = all(None not in vars(one).values() for one in found)
        return complete and [(c.method, c.setting, c.settings) for c in found] == asked

    found: list[Candidate] = folder.remember("candidates", compute, list[Candidate], planned)
    return found


def _open_teacher(recipe: CompressRecipe, workload: Workload) -> nn.Module:
    """Open the network to distil from: the deeper one that was named, or the original."""
    if recipe.teacher is None:
        return workload.model
    factory = recipe.model if ":" in recipe.model else None
    path = Path(recipe.teacher)
    own = factory is None or has_header(path)
    teacher = load_network(path, factory).model if own else load_custom(str(factory), path)
    try:
        fit(teacher.eval(), workload.example(), workload.scene.scale)
    except ModelError as error:
        raise ModelError(f"--teacher {recipe.teacher} does not fit: {error}") from error
    return teacher


def _export(
    recipe: CompressRecipe,
    folder: RunFolder,
    workload: Workload,
    student: nn.Module,
    training: TrainResult,
) -> OnnxFile | str:
    """Write the student's files; return what is known of its ONNX file, or why there is none."""
    save_network(
        student,
        folder.draft / STUDENT,
        data=workload.scene.describe(),
        training={"teacher": workload.weights, "best": training.best},
    )
    try:
        write_loader(student, folder.draft / LOADER, STUDENT)
    except ModelError as error:  # layers of another package's pass
        log(f"no {LOADER}: {error}")
    path = folder.draft / ONNX
    try:
        if not folder.state(f"{TEACHER}.onnx").is_file():
            write_network(workload.model, workload, recipe.latency_tile, folder.state("again.onnx"))
        found, agreement = write_network(student, workload, recipe.latency_tile, path)
    except ExportError as error:
        return str(error)
    return onnx_entry(path, found, agreement)


def _make(
    recipe: CompressRecipe,
    folder: RunFolder,
    workload: Workload,
    sites: Sequence[Site],
    student: nn.Module,
    teacher: nn.Module,
) -> Artifacts:
    """Write the models and engines; once a run."""

    def tune() -> Path:
        with timed_stage("fine-tune with quantisation simulated"):
            tuned = quantisation_aware(
                clone(student),
                [workload.scene],
                student_config(recipe),
                sites=sites,
                teacher=teacher,
                checkpoint=folder.state("qat.checkpoint"),
                resume=True,
            )
        network, path = tuned.model.cpu().eval(), folder.state("qat.onnx")
        write_network(network, workload, recipe.latency_tile, path, like=folder.draft / ONNX)
        return path

    def written(made: Artifacts) -> bool:
        paths = [*(model.path for model in made.models), *(one.path for one in made.engines)]
        return all((folder.draft / path).is_file() for path in paths)

    def compute() -> dict[str, Any]:
        source, tuner = folder.draft / ONNX, tune if recipe.qat else None
        config = deploy_config(recipe)
        return deployment.make(config, folder.draft, source, workload, tuner).to_dict()

    made: Artifacts = folder.remember("deployment", compute, Artifacts, written)
    return made


def _pictures(
    folder: RunFolder, workload: Workload, student: nn.Module, made: Artifacts
) -> Pictures:
    """Show the test region as each network makes it; int8 is the first that was made."""
    networks: dict[str, nn.Module] = {"teacher": workload.model, "student": student}
    for model in made.models:
        if model.precision == "int8":
            path = folder.draft / model.path
            int8 = SessionModule(open_runner(path, ONNX_RUNTIME), input_shape(path))
            networks.setdefault("int8", int8)
    pictures = take_pictures(workload.scene, networks)
    pictures.save(folder.draft / PICTURES)
    return pictures
