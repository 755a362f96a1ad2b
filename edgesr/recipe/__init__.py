"""Recipes: every option of a command, described once and checked wherever it comes from."""

from edgesr.recipe.options import Options
from edgesr.recipe.recipes import CompressRecipe, TrainRecipe

__all__ = ["CompressRecipe", "Options", "TrainRecipe"]
