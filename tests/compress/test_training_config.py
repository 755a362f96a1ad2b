from __future__ import annotations

from dataclasses import replace

from edgesr.compress.surgery_config import student_options
from edgesr.compress.training_config import student_config
from edgesr.recipe.recipes import CompressRecipe


def test_a_search_trains_longer_and_its_trials_for_an_eighth():
    config = student_config(CompressRecipe())
    assert (config.epochs, config.patience, config.learning_rate) == (6, None, 2e-4)
    assert config.final_learning_rate == 2e-4 / 10
    deep = CompressRecipe(search=True)
    assert (student_config(deep).epochs, student_config(deep, trial=True).epochs) == (32, 4)
    asked = CompressRecipe(max_macs=1e6, epochs=5, amp="off")
    trial = student_config(asked, trial=True)
    assert (student_config(asked).epochs, trial.epochs, trial.amp) == (5, 1, "off")
    assert student_config(CompressRecipe(epochs=0)).epochs == 0


def test_the_papers_baseline_learns_as_in_the_paper_and_no_longer_than_the_student(tmp_path):
    for recipe in (CompressRecipe(), CompressRecipe(distil="output", epochs=3, search=True)):
        options = student_options(recipe, tmp_path)
        assert options.training.distil == recipe.distil
        assert options.published_training == replace(options.training, distil="paper")
