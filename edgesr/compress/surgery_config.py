"""From a recipe to the options of surgery and of a search."""

from __future__ import annotations

import torch

from edgesr.compress.candidates import SurgeryOptions
from edgesr.compress.search.budget import Budget
from edgesr.compress.search.options import SearchOptions
from edgesr.compress.training_config import student_config
from edgesr.recipe.recipes import CompressRecipe


def surgery_options(recipe: CompressRecipe) -> SurgeryOptions:
    """What may take the upsampler's place.

    Raises:
        OptionError: no pass on upsamplers is called as the recipe says.
    """
    return SurgeryOptions(
        method=recipe.method,
        settings=recipe.settings,
        rank_target=recipe.rank_target,
        rank_criterion=recipe.rank_criterion,
        exact_target=recipe.exact_target,
    )


def budget_of(recipe: CompressRecipe) -> Budget:
    """The limits that a recipe sets."""
    return Budget(recipe.cost_limits, recipe.max_psnr_drop, recipe.max_sam_drop)


def search_options(recipe: CompressRecipe) -> SearchOptions:
    """How a recipe wants designs to be searched for."""
    return SearchOptions(
        budget=budget_of(recipe),
        method=recipe.method,
        runtime=recipe.runtime,
        trials=recipe.trials,
        seed=recipe.seed,
        latency_tile=recipe.latency_tile,
        threads=recipe.threads or torch.get_num_threads(),
        training=student_config(recipe, trial=True),
    )
