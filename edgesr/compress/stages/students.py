"""Students: what a run trains. The network that it is for, and those it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from edgesr.compress.candidates import CalibratedModel, SurgeryOptions, select
from edgesr.compress.search.budget import Budget
from edgesr.compress.search.options import SearchOptions
from edgesr.compress.stages.distil import distil, keep_within, unchanged
from edgesr.compress.timing_files import file_name
from edgesr.deploy.stage import ALONE, PAPER
from edgesr.distill.config import TrainConfig
from edgesr.distill.trainer import TrainResult
from edgesr.stored import Remember, at_once
from edgesr.surgery import Candidate

if TYPE_CHECKING:
    from edgesr.compress.search import Search, Trial


PUBLISHED = "grouped"
"""The pass of the LKCA-Net paper, whose network students are compared with."""


@dataclass(frozen=True)
class Student:
    """A network after surgery and distillation.

    Attributes:
        upsampler: the surgery on its upsampler; None where the network is as it was.
        training: how its distillation went; its network is the trained one.
        drop: what that loses on budget windows; None where it was not held against the budget.
    """

    upsampler: Candidate | None
    training: TrainResult
    drop: Mapping[str, float] | None = None

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


@dataclass(frozen=True)
class StudentOptions:
    """What is chosen, and how it is trained.

    Attributes:
        surgery: what was measured, and whether one setting was asked for.
        budget: what may be lost, and what it may cost.
        training: of the upsampler's replacement alone.
        search: how the whole network is searched; None leaves the backbone as it is.
        search_training: of what the search has chosen.
        published_groups: also train the paper's network with so many groups; 0 leaves it out.
        published_training: of that network; None for ``training``.
        checkpoints: folder that every training is kept in and goes on from; None keeps nothing.
    """

    surgery: SurgeryOptions
    budget: Budget
    training: TrainConfig
    search: SearchOptions | None = None
    search_training: TrainConfig | None = None
    published_groups: int = 0
    published_training: TrainConfig | None = None
    checkpoints: Path | None = None

    def checkpoint(self, name: str) -> Path | None:
        """The file that a training is kept in."""
        return self.checkpoints and self.checkpoints / f"{name}.checkpoint"


def untimed(_: str) -> AbstractContextManager[None]:
    """Time nothing: for a stage that is called by itself."""
    return nullcontext()


def make_students(
    options: StudentOptions,
    calibrated: CalibratedModel,
    candidates: Sequence[Candidate],
    teacher: nn.Module,
    scratch: Path,
    remember: Remember = at_once,
    timed: Callable[[str], AbstractContextManager[None]] = untimed,
    alone: Candidate | None = None,
) -> Students:
    """Choose among the measured surgeries, or search further; distil what is chosen.

    Args:
        options: the budget, and how to distil.
        calibrated: the reference.
        candidates: measured surgeries on its upsampler; of none the student is the reference.
        teacher: network to distil from.
        scratch: folder of files that a search times.
        remember: keeps a search's trials, so that it goes on where it was.
        timed: adds the seconds of its block to a stage's.
        alone: the surgery that is taken where the upsampler is all that is made smaller; None
            takes the one with the best latency.

    Raises:
        OptionError: nothing keeps to the budget.
    """
    if not candidates:
        return Students(Student(None, unchanged(calibrated.workload.model)))
    budget = options.budget
    if alone is None:
        alone = select(candidates, options.surgery, budget.psnr_drop, budget.sam_drop)
    limits = None if options.surgery.is_forced else budget

    def distilled(candidate: Candidate, config: TrainConfig, name: str) -> Student:
        closed, checkpoint = calibrated.operate(candidate), options.checkpoint(name)
        label = candidate.label
        return Student(candidate, distil(closed, calibrated, config, teacher, label, checkpoint))

    found: Search | None = None
    baselines: dict[str, Student] = {}
    with timed("distil"):
        whole = distilled(alone, options.training, file_name(alone)).training
        single = Student(alone, *keep_within(limits, whole, alone, calibrated))
    student = single
    if options.search is not None:
        from edgesr.compress.search import require_quality, search

        training = options.search_training or options.training

        def finish(trial: Trial, closed: nn.Module) -> TrainResult:
            checkpoint = options.checkpoint(f"search-{trial.number}")
            return distil(closed, calibrated, training, teacher, trial.label, checkpoint)

        with timed("search"):
            found, trained = search(
                options.search, calibrated, candidates, alone, teacher, scratch, finish, remember
            )
            require_quality(found, budget)
        student = Student(found.upsampler, trained, found.chosen.finished)
        baselines[ALONE] = single
    published = (PUBLISHED, options.published_groups)
    baseline = next((c for c in candidates if (c.method, c.setting) == published), None)
    if baseline is not None:
        config = options.published_training or options.training
        same = baseline is alone and config == options.training
        with timed("distil the paper's"):
            baselines[PAPER] = (
                single if same else distilled(baseline, config, f"published-{file_name(baseline)}")
            )
    return Students(student, baselines, found)
