"""What a student learns from its teacher: each loss by its formula, on what it asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from distill_fakes import SITE, SmallNet, scene
from torch import Tensor

from edgesr.distill import losses
from edgesr.distill.methods._base import Distillation, Outputs
from edgesr.distill.registry import DISTILLATIONS
from edgesr.distill.trainer import TrainConfig, train
from edgesr.errors import OptionError

CONFIG = TrainConfig(epochs=2, batch=4, steps_per_epoch=3)
OWN = ("mix", "output", "paper", "unlabelled")


@pytest.fixture
def made() -> Outputs:
    random = torch.Generator().manual_seed(0)
    student, teacher, hr, f, g = (torch.rand(2, 3, 8, 8, generator=random) for _ in range(5))
    return Outputs(
        student=student.requires_grad_(),
        teacher=teacher,
        student_features=[f],
        teacher_features=[g],
        weight=0.25,
        terms={"cos": 0.5, "sam": 0.5, "grad": 0.1},
        truth=lambda: losses.hh_loss(student, hr),
    )


def expected(name: str, made: Outputs) -> Tensor:
    truth, output = made.truth(), F.l1_loss(made.student, made.teacher)
    features = losses.kd_loss(made.student_features, made.teacher_features)
    return {
        "paper": truth + 0.25 * features,
        "output": output,
        "mix": (truth + output) / 2,
        "unlabelled": output,
    }[name]


def test_the_registry_has_what_the_folder_has():
    assert {*OWN} <= {*DISTILLATIONS}


@pytest.mark.parametrize("name", OWN)
def test_losses_are_those_of_the_formulas(name, made):
    torch.testing.assert_close(DISTILLATIONS[name].loss(made), expected(name, made))


@pytest.mark.parametrize("name", OWN)
def test_each_brings_a_student_closer_to_its_teacher(name):
    target = scene(regions=True)
    teacher = train(SmallNet(seed=5), [target], replace(CONFIG, steps_per_epoch=20), progress=False)
    student = SmallNet(seed=6)
    lr = next(target.samples("test")).lr[None]

    def distance() -> float:
        with torch.no_grad():
            return float(F.l1_loss(student(lr), teacher.model(lr)))

    before = distance()
    config = replace(CONFIG, epochs=4, steps_per_epoch=10, distil=name)
    result = train(student, [target], config, teacher=teacher.model, sites=[SITE], progress=False)
    assert result.best["epoch"] > 0
    assert distance() < before


def test_unlabelled_images_are_mixed_of_patches_at_both_scales():
    lr, hr = torch.zeros(3, 2, 4, 4), torch.ones(3, 2, 8, 8)
    torch.manual_seed(0)
    mixed = DISTILLATIONS["unlabelled"].inputs(lr, hr)
    shares = mixed[:, 0, 0, 0]
    assert mixed.shape == lr.shape
    assert torch.equal(mixed, shares[:, None, None, None].expand_as(mixed))
    assert ((shares > 0) & (shares < 1)).all()
    assert len(shares.unique()) == 3
    torch.manual_seed(0)
    assert torch.equal(DISTILLATIONS["unlabelled"].inputs(lr, hr), mixed)


def test_features_are_listened_to_where_they_are_asked_for_alone():
    seen = []

    class Watching(Distillation):
        name = "watching"

        def loss(self, made: Outputs) -> Tensor:
            seen.append((len(made.student_features), made.teacher.requires_grad))
            return made.truth()

    DISTILLATIONS.add("watching", Watching())
    try:
        config = replace(CONFIG, distil="watching")
        train(SmallNet(), [scene()], config, teacher=SmallNet(), sites=[SITE], progress=False)
    finally:
        del DISTILLATIONS._things["watching"]
    assert set(seen) == {(0, False)}


def test_a_name_that_none_has_is_refused():
    with pytest.raises(
        OptionError, match=r"distil must be one of .*mix, output, paper.*received 'best'"
    ):
        replace(CONFIG, distil="best")
