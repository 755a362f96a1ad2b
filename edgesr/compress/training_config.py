"""From a recipe to the options of the trainer."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from edgesr.distill.trainer import TrainConfig
from edgesr.recipe.recipes import CompressRecipe


def train_config(recipe: Any) -> TrainConfig:
    """Take from any recipe the fields that the trainer knows; a clip of 0 means none."""
    known = {item.name for item in fields(TrainConfig)}
    values = {name: value for name, value in recipe.to_dict().items() if name in known}
    if not values.get("clip", 1.0):
        values["clip"] = None
    return TrainConfig(**values)


def student_config(recipe: CompressRecipe, *, trial: bool = False) -> TrainConfig:
    """Options of a student's distillation; a trial of a search gets an eighth of the epochs."""
    epochs = recipe.student_epochs
    return replace(
        train_config(replace(recipe, epochs=-(-epochs // 8) if trial else epochs)),
        final_learning_rate=recipe.learning_rate / 10,
        warmup_steps=recipe.steps_per_epoch,  # Adam knows nothing of a trained network yet
    )
