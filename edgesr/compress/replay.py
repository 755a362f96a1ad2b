"""Make the files of a run again from its decisions: nothing is timed, nothing searched.

On the same kind of machine, with the same versions and threads, they are the same bytes. Engines
are left out, since TensorRT chooses by its own clock, and so is the report, which is of
measurements.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from edgesr.compress.candidates import CalibratedModel, calibrate, enumerate_candidates
from edgesr.compress.decisions import Decisions, Surgery
from edgesr.compress.deploy_config import deploy_config
from edgesr.compress.stages.distil import distil, part_way, unchanged
from edgesr.compress.stages.export import export_student
from edgesr.compress.stages.teacher import open_teacher
from edgesr.compress.surgery_config import surgery_options
from edgesr.compress.training_config import student_config
from edgesr.deploy import stage as deployment
from edgesr.distill.state import restore
from edgesr.distill.trainer import TrainResult
from edgesr.errors import OptionError
from edgesr.files import file_sha256
from edgesr.loading.workload import Workload, open_workload
from edgesr.outputs import check_folder
from edgesr.progress import log, timed_stage
from edgesr.recipe.recipes import CompressRecipe
from edgesr.report import read
from edgesr.run_folder import DECISIONS, LOADER, ONNX, RECIPE, STUDENT, finished_report
from edgesr.surgery import Candidate, require_sites, spectrum


@dataclass(frozen=True)
class Replayed:
    """What came out.

    Attributes:
        folder: where the files are.
        equal: those that are the run's own, byte for byte; paths relative to the folder.
        other: those that are not.
    """

    folder: Path
    equal: list[str]
    other: list[str]


def replay(run: Path, output: Path) -> Replayed:
    """Make the student and its models again as a run's decisions say.

    Args:
        run: folder of a finished run; what its recipe names must still be there.
        output: folder that does not exist yet.

    Raises:
        OptionError: the run is not finished, kept no decisions, or cannot be followed; the folder
            exists.
    """
    finished_report(run)
    recipe = CompressRecipe.load(run / RECIPE)
    decisions = Decisions.load(run / DECISIONS)
    if recipe.qat:
        raise OptionError(f"{run} was quantised in training, which cannot be replayed yet")
    check_folder(output)
    if output.exists():
        raise OptionError(f"{output} exists; name a folder that does not")
    output.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(decisions.threads)
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
        try:
            _make(recipe, decisions, draft, Path(scratch))
            draft.rename(output)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return _compared(run, output)


def _make(recipe: CompressRecipe, decisions: Decisions, folder: Path, scratch: Path) -> None:
    workload = open_workload(recipe)
    if decisions.surgery is None:
        training = unchanged(workload.model)
    else:
        training = _trained(recipe, decisions, decisions.surgery, workload)
    with timed_stage("export and verify"):
        onnx = export_student(
            folder, training, workload, recipe.tile, scratch, one_size=recipe.one_size
        )
    if isinstance(onnx, str):
        log(f"no {ONNX}: {onnx}")
        return
    deployment.make(
        deploy_config(recipe), folder, folder / ONNX, workload, None, decisions.int8, engines=False
    )


def _trained(
    recipe: CompressRecipe, decisions: Decisions, surgery: Surgery, workload: Workload
) -> TrainResult:
    """The student, trained as far as the run kept it."""
    sites = require_sites(workload.model, workload.example())
    weights = None if recipe.teacher is None else Path(recipe.teacher)
    teacher = open_teacher(weights, recipe.model if ":" in recipe.model else None, workload)
    spectra = {site.name: spectrum(workload.model, site) for site in sites}
    candidates = enumerate_candidates(surgery_options(recipe), sites, spectra)
    taken = surgery.find(candidates)
    with timed_stage("calibrate on training patches"):
        methods = dict.fromkeys(candidate.method for candidate in candidates)
        seed = recipe.seed if recipe.init == "data" else None
        calibrated = calibrate(workload, sites, spectra, methods, seed)
    closed = _closed(decisions, calibrated, candidates, taken, recipe.seed)
    config = student_config(recipe if recipe.searches else recipe.upsampler_alone)
    training = distil(closed, calibrated, config, teacher, taken.label, keep=decisions.best)
    if share := decisions.best.get("share"):
        closed = calibrated.operate(taken)
        restore(training.model, part_way(closed, training.model, share))
    return training


def _closed(
    decisions: Decisions,
    calibrated: CalibratedModel,
    candidates: list[Candidate],
    taken: Candidate,
    seed: int,
) -> nn.Module:
    """The network before its training."""
    if decisions.search is None:
        return calibrated.operate(taken)
    from edgesr.compress.search import build, survey

    found = decisions.search
    pool = [surgery.find(candidates) for surgery in found.pool]
    backbone = survey(calibrated, pool[-1], seed, lambda *_: found.blocks)
    return build(calibrated, pool, backbone, found.design)


def _compared(run: Path, output: Path) -> Replayed:
    """Compare with the checksums of the run's report, for files that it names, else the files."""
    report = read(finished_report(run))
    known: dict[str, str | None] = {entry.path: entry.sha256 for entry in report.files}
    if report.deployment:
        for model in report.deployment.models:
            known[model.path] = model.sha256
            if model.native:
                known[model.native.path] = model.native.sha256
    names = [path.relative_to(output).as_posix() for path in sorted(output.rglob("*"))]
    made = {name: output / name for name in names if (output / name).is_file()}
    same = {name: known.get(name) == file_sha256(path) for name, path in made.items()}
    lost = [name for name in known if name not in made and name in (STUDENT, LOADER, ONNX)]
    return Replayed(
        output,
        [name for name, equal in same.items() if equal],
        [*(name for name, equal in same.items() if not equal), *lost],
    )
