"""Students: what a run trains. The network that it is for, and those it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import nn

from edgesr.compress.candidates import CalibratedModel, select
from edgesr.compress.surgery_config import budget_of, search_options, surgery_options
from edgesr.compress.timing_files import file_name
from edgesr.compress.training_config import student_config
from edgesr.deploy.stage import ALONE, PAPER
from edgesr.distill.trainer import TrainResult, train
from edgesr.errors import OptionError
from edgesr.progress import timed_stage
from edgesr.recipe.recipes import CompressRecipe
from edgesr.run_folder import RunFolder
from edgesr.surgery import Candidate

if TYPE_CHECKING:
    from edgesr.compress.search import Search

PUBLISHED = "grouped"
"""The pass of the LKCA-Net paper, whose network students are compared with."""


@dataclass(frozen=True)
class Student:
    """A network after surgery and distillation.

    Attributes:
        upsampler: the surgery on its upsampler.
        training: how its distillation went; its network is the trained one.
    """

    upsampler: Candidate
    training: TrainResult

    @property
    def model(self) -> nn.Module:
        return self.training.model


@dataclass(frozen=True)
class Students:
    """Everything that a run has trained.

    Attributes:
        student: what the run is for.
        baselines: by :data:`ALONE` (in a search) and :data:`PAPER`.
        search: None where the upsampler alone is made smaller.
    """

    student: Student
    baselines: Mapping[str, Student] = field(default_factory=dict)
    search: Search | None = None


def check_search(recipe: CompressRecipe) -> None:
    """Refuse a search that could not run, before anything is written.

    Raises:
        OptionError: it contradicts another option, or something that it needs is not there.
    """
    if not recipe.searches:
        return
    if recipe.is_forced:
        raise OptionError(
            "--rank, --groups and --exact-target ask for one surgery, a search tries many; leave"
            " out one or the other"
        )
    from edgesr.compress.search import missing

    if reason := missing(recipe.runtime):
        raise OptionError(reason)


def make_students(
    recipe: CompressRecipe,
    folder: RunFolder,
    calibrated: CalibratedModel,
    candidates: Sequence[Candidate],
    teacher: nn.Module,
) -> Students:
    """Choose among the measured surgeries, or search further; distil what is chosen.

    Args:
        recipe: the budget, and how to distil.
        folder: keeps checkpoints.
        calibrated: the original network.
        candidates: measured surgeries on its upsampler.
        teacher: network to distil from.

    Raises:
        OptionError: nothing keeps to the budget.
    """
    options = surgery_options(recipe)
    alone = select(candidates, options, recipe.max_psnr_drop, recipe.max_sam_drop)

    def distilled(candidate: Candidate) -> Student:
        closed, name = calibrated.operate(candidate), file_name(candidate)
        plain = recipe.upsampler_alone
        return Student(
            candidate, _distil(plain, folder, calibrated, closed, candidate.label, name, teacher)
        )

    found: Search | None = None
    baselines: dict[str, Student] = {}
    with folder.timed("distil"):
        single = distilled(alone)
    student = single
    if recipe.searches:
        from edgesr.compress.search import require_quality, search

        with folder.timed("search"):
            found, closed = search(
                search_options(recipe),
                calibrated,
                candidates,
                alone,
                teacher,
                folder.state(""),
                folder.remember,
            )
            label = found.chosen.label
            training = _distil(recipe, folder, calibrated, closed, label, "search", teacher)
            require_quality(found, budget_of(recipe), training.model, calibrated.workload)
        student, baselines[ALONE] = Student(found.upsampler, training), single
    baseline = next((c for c in candidates if _is_baseline(c, recipe)), None)
    if baseline is not None:
        with folder.timed("distil the paper's"):
            baselines[PAPER] = single if baseline is alone else distilled(baseline)
    return Students(student, baselines, found)


def _is_baseline(candidate: Candidate, recipe: CompressRecipe) -> bool:
    return (candidate.method, candidate.setting) == (PUBLISHED, recipe.baseline_groups)


def _distil(
    recipe: CompressRecipe,
    folder: RunFolder,
    calibrated: CalibratedModel,
    closed: nn.Module,
    label: str,
    name: str,
    teacher: nn.Module,
) -> TrainResult:
    """Fine-tune a network; validation decides, so the closed form is the least that comes out."""
    with timed_stage(f"distil {label}"):
        result = train(
            closed,
            [calibrated.workload.scene],
            student_config(recipe),
            teacher=teacher,
            sites=calibrated.sites,
            checkpoint=folder.state(f"{name}.checkpoint"),
            resume=True,
        )
    result.model.cpu().eval()
    return result
