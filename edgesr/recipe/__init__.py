"""Recipes: every option of a command, described once and checked wherever it comes from."""

from edgesr.recipe.options import Options
from edgesr.recipe.recipes import AnalyzeRecipe, CompressRecipe, TrainRecipe, WeightsRecipe

__all__ = ["AnalyzeRecipe", "CompressRecipe", "Options", "TrainRecipe", "WeightsRecipe"]
