"""Switches that the papers' ablations need: terms of the distillation loss, and plain MSE."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from distill_fakes import SITE, SmallNet, scene

from edgesr.distill import trainer
from edgesr.distill.methods import paper
from edgesr.distill.trainer import TrainConfig, train
from edgesr.errors import OptionError

ONE_STEP = TrainConfig(epochs=1, batch=2, steps_per_epoch=1, alpha=1.0)


def test_terms_of_distillation_have_the_weights_of_the_config(monkeypatch):
    seen = {}

    def kd_loss(student, teacher, **weights):
        seen.update(weights)
        return student[0].sum() * 0

    monkeypatch.setattr(paper, "kd_loss", kd_loss)
    config = replace(ONE_STEP, kd_cos=0.0, kd_sam=0.25, kd_grad=2.0)
    train(SmallNet(), [scene()], config, teacher=SmallNet(seed=1), sites=[SITE], progress=False)
    assert seen == {"cos": 0.0, "sam": 0.25, "grad": 2.0}


def test_a_term_of_no_weight_changes_nothing_and_one_of_some_does():
    def outcome(**weights) -> torch.Tensor:
        config = replace(ONE_STEP, epochs=2, **weights)
        student, teacher = SmallNet(), SmallNet(seed=1)
        result = train(student, [scene()], config, teacher=teacher, sites=[SITE], progress=False)
        return torch.tensor([entry["train_loss"] for entry in result.history])

    nothing = outcome(kd_cos=0.0, kd_sam=0.0, kd_grad=0.0)
    alone = train(SmallNet(), [scene()], replace(ONE_STEP, epochs=2), progress=False)
    torch.testing.assert_close(
        nothing, torch.tensor([entry["train_loss"] for entry in alone.history])
    )
    assert float(outcome(kd_cos=0.5, kd_sam=0.0, kd_grad=0.0)[0]) > float(nothing[0])


def test_mse_is_the_mean_squared_error_alone(monkeypatch):
    losses, genuine = [], F.mse_loss

    def spy(sr, hr):
        losses.append((sr - hr).square().mean().item())
        return genuine(sr, hr)

    monkeypatch.setattr(trainer.F, "mse_loss", spy)  # the module F of all: kept in genuine
    config = replace(ONE_STEP, loss="mse")
    result = train(SmallNet(), [scene()], config, progress=False)
    assert result.history[0]["train_loss"] == pytest.approx(losses[0])


@pytest.mark.parametrize("name", ["kd_cos", "kd_sam", "kd_grad"])
def test_negative_weights_are_refused(name):
    with pytest.raises(OptionError, match=name):
        TrainConfig(epochs=1, **{name: -0.1})
