"""The way of the data: teacher -> sites -> spectrum -> candidates -> student -> ONNX -> report.

Here alone a recipe, a run folder and what ``--resume`` needs are known; the work is done in
:mod:`edgesr.compress.stages`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from edgesr_export.targets import find_target
from torch import nn

from edgesr.compress.candidates import (
    UNCHANGED,
    CalibratedModel,
    calibrate,
    enumerate_candidates,
    measure_candidates,
)
from edgesr.compress.decisions import Decisions, SearchDecision, Surgery, int8_layers
from edgesr.compress.deploy_config import deploy_config
from edgesr.compress.stages.baselines import Baselines, measure_baselines
from edgesr.compress.stages.deploy import (
    Measurement,
    measure_files,
    measure_in_torch,
    quantisation_tuner,
)
from edgesr.compress.stages.export import export_student
from edgesr.compress.stages.judge import judge
from edgesr.compress.stages.pictures import draw_pictures
from edgesr.compress.stages.report import write_report
from edgesr.compress.stages.select import Comparison, Selected, select_surgery
from edgesr.compress.stages.students import Students, make_students
from edgesr.compress.stages.teacher import open_teacher
from edgesr.compress.surgery_config import (
    budget_of,
    check_search,
    student_options,
    surgery_options,
)
from edgesr.compress.training_config import student_config
from edgesr.deploy import stage as deployment
from edgesr.deploy.bundle import board_target, bundle_report
from edgesr.deploy.inputs import require_size
from edgesr.deploy.stage import ALONE, PAPER, Artifacts
from edgesr.errors import OptionError
from edgesr.evaluation.tiling import require_memory_for_tile
from edgesr.loading.fitting import check_trains
from edgesr.loading.header import require_storable
from edgesr.loading.workload import Workload, files_read, open_workload
from edgesr.progress import log, timed_stage
from edgesr.recipe.recipes import CompressRecipe
from edgesr.report import environment, validate_data
from edgesr.report.build import RunResult, build_report
from edgesr.report.entries import IN_TORCH, RUNTIME, Conditions, Selection
from edgesr.report.model import OnnxFile, Report
from edgesr.run_folder import DECISIONS, LOADER, ONNX, PICTURES, RECIPE, STUDENT, RunFolder
from edgesr.surgery import Candidate, Site, Spectrum, find_sites, require_sites, spectrum


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
    if recipe.one_size and recipe.tile_range is not None:
        raise OptionError(
            "--export-size asks for files of one size, --tile-range for engines of several; leave"
            " out one or the other"
        )
    if recipe.compute_capability is not None:
        for target in recipe.targets:
            find_target(target).check_capability(recipe.compute_capability)
    options = surgery_options(recipe)
    check_search(recipe)
    student_config(recipe)  # refuses a distillation that is not there before anything is written
    inputs = [*files_read(recipe), *reads]
    folder = RunFolder(output, overwrite=overwrite, resume=resume, inputs=inputs)
    with folder.timed("open"):
        workload = open_workload(recipe)
        bands = len(workload.scene.bands)
        tile_option = "--export-size" if recipe.one_size else "--latency-tile"
        require_memory_for_tile(workload.model, bands, recipe.tile, tile_option)
        if recipe.one_size:
            require_size(workload, recipe.tile)
        described = workload.scene.describe()
        validate_data(described)
        require_storable(described)
        unchanged = recipe.method == UNCHANGED
        found = find_sites if unchanged else require_sites
        sites = found(workload.model, workload.example())
        if recipe.student_epochs and (recipe.qat or not unchanged):
            check_trains(workload.model, workload.example())
        weights = None if recipe.teacher is None else Path(recipe.teacher)
        teacher = open_teacher(weights, recipe.model if ":" in recipe.model else None, workload)
    with folder.timed("spectrum"):
        spectra = {site.name: spectrum(workload.model, site) for site in sites}
        candidates = enumerate_candidates(options, sites, spectra)
    try:
        folder.create(recipe)
        if resume and folder.is_complete:
            return folder.publish()
        try:
            return _Run(recipe, folder, workload, sites, spectra, teacher).finish(candidates)
        except Exception as error:
            if isinstance(error, MemoryError) or hasattr(error, "exit_code"):
                folder.fail(error)
            raise
    finally:
        folder.release()


@dataclass(frozen=True)
class _Run:
    """A run that has begun: what was opened, and where its results go."""

    recipe: CompressRecipe
    folder: RunFolder
    workload: Workload
    sites: Sequence[Site]
    spectra: Mapping[str, Spectrum]
    teacher: nn.Module

    def finish(self, candidates: list[Candidate]) -> dict[str, Any]:
        """The stages, one after the other."""
        recipe, folder, workload = self.recipe, self.folder, self.workload
        scratch = folder.state("")
        with folder.timed("calibrate"), timed_stage("calibrate on training patches"):
            methods = dict.fromkeys(candidate.method for candidate in candidates)
            seed = recipe.seed if recipe.init == "data" else None
            calibrated = calibrate(
                workload, self.sites, self.spectra, methods, seed,
                with_folds=bool(recipe.confidence),
            )  # fmt: skip
        with folder.timed("baselines"), timed_stage("measure teacher and bicubic"):
            baselines = measure_baselines(workload)
        with folder.timed("candidates"):
            candidates = self.measured(calibrated, candidates)
            selected = self.selected(calibrated, candidates)
        students = make_students(
            student_options(recipe, scratch), calibrated, candidates, self.teacher, scratch,
            folder.remember, folder.timed, selected.candidate,
        )  # fmt: skip
        with folder.timed("export"), timed_stage("export and verify"):
            training = students.student.training
            onnx = export_student(
                folder.draft, training, workload, recipe.tile, scratch, one_size=recipe.one_size
            )
        made, measurement = self.deployed(calibrated, students, onnx)
        with folder.timed("pictures"), timed_stage("pictures of the test region"):
            pictures = draw_pictures(folder.draft, made.models, workload, students.student.model)
            pictures.save(folder.draft / PICTURES)
        self.decisions(selected.candidate, students, made).save(folder.draft / DECISIONS)
        report = self.report(candidates, baselines, students, onnx, measurement, selected.compared)
        content = write_report(report, pictures, folder.draft)
        if recipe.bundle:
            self.bundle(report, made)
        folder.finish(content)
        return content

    def measured(self, calibrated: CalibratedModel, candidates: list[Candidate]) -> list[Candidate]:
        """Measure the candidates, if there are any; once a run."""
        if not candidates:
            return []
        asked = [(one.method, one.setting, one.settings) for one in candidates]

        def compute() -> list[dict[str, Any]]:
            tile = calibrated.workload.example(self.recipe.tile)
            scratch = self.folder.state("")
            measured = measure_candidates(
                calibrated, candidates, tile, self.threads, scratch, self.recipe.confidence
            )
            return [asdict(candidate) for candidate in measured]

        def planned(found: list[Candidate]) -> bool:
            complete = all(None not in vars(one).values() for one in found)
            return complete and [(c.method, c.setting, c.settings) for c in found] == asked

        remember = self.folder.remember
        found: list[Candidate] = remember("candidates", compute, list[Candidate], planned)
        return found

    def selected(self, calibrated: CalibratedModel, candidates: list[Candidate]) -> Selected:
        """Choose among them, if there are any; once a run."""
        recipe = self.recipe
        if not candidates:
            return Selected()

        def compute() -> dict[str, Any]:
            tile = calibrated.workload.example(recipe.tile)
            scratch = self.folder.state("")
            found = select_surgery(
                surgery_options(recipe), budget_of(recipe), calibrated, candidates, tile,
                self.threads, scratch,
            )  # fmt: skip
            return asdict(found)

        found: Selected = self.folder.remember(
            "selected", compute, Selected, lambda one: one.candidate in candidates
        )
        taken = next(one for one in candidates if one == found.candidate)
        return replace(found, candidate=taken)

    def deployed(
        self, calibrated: CalibratedModel, students: Students, onnx: OnnxFile | str
    ) -> tuple[Artifacts, Measurement]:
        """Make the files, once a run, and measure them; without an ONNX file, in PyTorch."""
        recipe, folder, workload = self.recipe, self.folder, self.workload
        student, scratch = students.student.model, folder.state("")
        others = {name: baseline.model for name, baseline in students.baselines.items()}
        if isinstance(onnx, str):
            with folder.timed("measure"):
                found = measure_in_torch(recipe.tile, workload, student, others)
            return Artifacts([], [], []), found
        config, source, tune = deploy_config(recipe), folder.draft / ONNX, None
        if recipe.qat:
            tune = quantisation_tuner(
                student, calibrated, self.teacher, replace(student_config(recipe), amp="off"),
                recipe.tile, source, scratch,
            )  # fmt: skip

        def compute() -> dict[str, Any]:
            return deployment.make(config, folder.draft, source, workload, tune).to_dict()

        def written(made: Artifacts) -> bool:
            paths = [*(path for model in made.models for path in model.paths)]
            paths += [engine.path for engine in made.engines]
            return all((folder.draft / path).is_file() for path in paths)

        with folder.timed("deploy"):
            made: Artifacts = folder.remember("deployment", compute, Artifacts, written)
        with folder.timed("measure"):
            found = measure_files(config, folder.draft, made, workload, student, others, scratch)
        return made, found

    def report(
        self,
        candidates: Sequence[Candidate],
        baselines: Baselines,
        students: Students,
        onnx: OnnxFile | str,
        measurement: Measurement,
        compared: Sequence[Comparison],
    ) -> Report:
        """Everything that was found."""
        recipe, folder, workload = self.recipe, self.folder, self.workload
        judged = judge(workload, baselines, students, measurement.timings)
        search = None
        if students.search is not None:
            from edgesr.compress.search import search_entry

            search = search_entry(students.search, budget_of(recipe), recipe.seed)
        return build_report(
            RunResult(
                folder=folder.path,
                data=workload.scene.describe(),
                environment=environment(recipe.device, torch.get_num_threads()),
                network=workload.network,
                weights=(workload.weights, STUDENT),
                bicubic=baselines.bicubic,
                teacher=judged.reference,
                student=judged.student,
                paper=judged.others.get(PAPER),
                alone=judged.others.get(ALONE),
                conditions=Conditions(
                    tuple(workload.example(recipe.tile).shape),
                    self.threads,
                    IN_TORCH if isinstance(onnx, str) else RUNTIME,
                ),
                sites=self.sites,
                spectra=self.spectra,
                rank_target=recipe.rank_target,
                candidates=candidates,
                selection=Selection(
                    recipe.max_psnr_drop,
                    recipe.max_sam_drop,
                    recipe.is_forced,
                    recipe.searches,
                    [asdict(one) for one in compared],
                    recipe.confidence,
                ),
                onnx=onnx,
                deployment=measurement.table,
                profile=measurement.profile,
                search=search,
                timing_s=folder.timing,
                recipe={key: v for key, v in recipe.to_dict().items() if v is not None},
                files=[
                    folder.draft / name
                    for name in (STUDENT, LOADER, ONNX, RECIPE, DECISIONS, PICTURES)
                    if (folder.draft / name).is_file()
                ],
            )
        )

    def decisions(self, alone: Candidate | None, students: Students, made: Artifacts) -> Decisions:
        """What a clock has decided in this run."""
        found = None
        if students.search is not None:
            found = SearchDecision(
                students.search.chosen.design,
                [Surgery.of(one) for one in students.search.pool],
                [(path, effect) for path, effect in students.search.blocks],
            )
        upsampler = alone if students.search is None else students.search.upsampler
        return Decisions(
            None if upsampler is None else Surgery.of(upsampler),
            students.student.training.best,
            torch.get_num_threads(),
            found,
            int8_layers(made.models),
        )

    def bundle(self, report: Report, made: Artifacts) -> None:
        """Pack what goes to a board, where something does."""
        board = board_target()
        if any(model.target == board.name for model in made.models):
            bundle_report(self.folder.draft, report, overwrite=True)
        else:
            log(
                f"no bundle: no model for {board.label} came out, for the reasons given as 'absent'"
            )

    @property
    def threads(self) -> int:
        """Threads that latency is measured with."""
        return self.recipe.threads or torch.get_num_threads()
