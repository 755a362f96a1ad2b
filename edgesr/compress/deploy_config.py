"""The settings of deployment that a recipe asks for."""

from __future__ import annotations

import torch

from edgesr.deploy.stage import DeployConfig
from edgesr.deploy.variants import Limits
from edgesr.recipe.recipes import NATIVE, CompressRecipe
from edgesr.recipe.tile_range import parse_tile_range

DEFAULT_SAM_DROP = 0.05  # degrees that int8 may lose where the recipe sets no limit


def deploy_config(recipe: CompressRecipe) -> DeployConfig:
    """Return what to make and measure; int8 may lose what the recipe's budget allows."""
    sam = DEFAULT_SAM_DROP if recipe.max_sam_drop is None else recipe.max_sam_drop
    return DeployConfig(
        recipe.targets,
        recipe.precisions,
        Limits(recipe.max_psnr_drop, sam, recipe.confidence),
        recipe.tile,
        recipe.threads or torch.get_num_threads(),
        recipe.compute_capability,
        NATIVE in recipe.io,
        None if recipe.tile_range is None else parse_tile_range(recipe.tile_range),
    )
