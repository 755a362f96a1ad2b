"""From a recipe to the options of surgery, of a search and of the students."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from edgesr.compress.candidates import UNCHANGED, SurgeryOptions
from edgesr.compress.search.budget import Budget
from edgesr.compress.search.options import SearchOptions
from edgesr.compress.stages.students import StudentOptions
from edgesr.compress.training_config import student_config
from edgesr.errors import OptionError
from edgesr.recipe.recipes import PAPERS_DISTIL, CompressRecipe


def surgery_options(recipe: CompressRecipe) -> SurgeryOptions:
    """What may take the upsampler's place.

    Raises:
        OptionError: no pass on upsamplers is called as the recipe says, or nothing is to be
            replaced and something else is asked of the replacement.
    """
    if recipe.method == UNCHANGED and (recipe.is_forced or recipe.searches or recipe.teacher):
        raise OptionError(
            "--method none deploys the network as it is; leave out --rank, --groups,"
            " --exact-target, --teacher, --search and limits on cost"
        )
    return SurgeryOptions(
        method=recipe.method,
        settings=recipe.settings,
        rank_target=recipe.rank_target,
        rank_criterion=recipe.rank_criterion,
        exact_target=recipe.exact_target,
    )


def budget_of(recipe: CompressRecipe) -> Budget:
    """The limits that a recipe sets."""
    return Budget(recipe.cost_limits, recipe.max_psnr_drop, recipe.max_sam_drop, recipe.confidence)


def search_options(recipe: CompressRecipe) -> SearchOptions:
    """How a recipe wants designs to be searched for."""
    return SearchOptions(
        budget=budget_of(recipe),
        method=recipe.method,
        runtime=recipe.runtime,
        trials=recipe.trials,
        seed=recipe.seed,
        tile=recipe.tile,
        threads=recipe.threads or torch.get_num_threads(),
        training=student_config(recipe, trial=True),
    )


def student_options(recipe: CompressRecipe, checkpoints: Path) -> StudentOptions:
    """What a recipe wants chosen and trained; trainings are kept in the folder ``checkpoints``."""
    searches, training = recipe.searches, student_config(recipe.upsampler_alone)
    return StudentOptions(
        surgery=surgery_options(recipe),
        budget=budget_of(recipe),
        training=training,
        search=search_options(recipe) if searches else None,
        search_training=student_config(recipe) if searches else None,
        published_groups=recipe.baseline_groups,
        published_training=replace(training, distil=PAPERS_DISTIL),
        checkpoints=checkpoints,
    )


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
