from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from distill_fakes import SITE, SmallNet, scene
from edgesr_export.onnx import export_onnx
from edgesr_export.verify import compare
from torch import Tensor, nn

from edgesr.distill import int8, quantisation
from edgesr.distill import trainer as training
from edgesr.distill.int8 import int8_layers, simulated_int8
from edgesr.distill.quantisation import quantisation_aware
from edgesr.distill.trainer import TrainConfig, train
from edgesr.errors import DataError, ModelError
from edgesr.evaluation.evaluate import evaluate
from edgesr.loading.weights import load_network, save_network
from edgesr.models import create_model
from edgesr.surgery import lowrank, require_sites
from edgesr.surgery.structure import clone

QUICK = TrainConfig(epochs=2, batch=4, steps_per_epoch=3, learning_rate=1e-3, jitter=False)


def forward(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def test_training_makes_up_for_the_rounding(monkeypatch):
    """On 7 levels, where rounding costs a decibel and training in float makes up for nothing."""
    monkeypatch.setattr(int8, "LARGEST", 3)
    target = scene()
    config = dataclasses.replace(QUICK, epochs=5, steps_per_epoch=10, final_learning_rate=1e-4)
    teacher = SmallNet()
    train(
        teacher,
        [target],
        dataclasses.replace(config, epochs=10, learning_rate=2e-3),
        progress=False,
    )
    tuned = train(
        clone(teacher), [target], config, teacher=teacher, sites=[SITE], progress=False
    ).model
    result = quantisation_aware(clone(teacher), [target], config, sites=[SITE], progress=False)
    given = [target.pair(window)[0][None] for window in target.train]

    def rounded(model: nn.Module) -> float:
        with simulated_int8(model, int8_layers(model, given[0]), given):
            return evaluate(model, target, "tuning")["mpsnr"]

    before = rounded(teacher)
    assert before < evaluate(teacher, target, "tuning")["mpsnr"] - 1
    assert rounded(result.model) > max(before, rounded(tuned)) + 0.3
    assert rounded(result.model) == pytest.approx(result.best["tuning_mpsnr"], abs=1e-4)


def test_initial_weights_are_kept_when_training_only_harms():
    student = SmallNet()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    config = dataclasses.replace(QUICK, learning_rate=3.0, final_learning_rate=3.0, clip=None)
    result = quantisation_aware(student, [scene()], config, sites=[SITE], progress=False)
    assert result.best["epoch"] == 0
    assert list(student.state_dict()) == list(before)
    assert all(torch.equal(student.state_dict()[name], value) for name, value in before.items())


def test_the_float_student_teaches_where_no_teacher_is_named(monkeypatch):
    student, tile = SmallNet().eval(), torch.rand(1, 3, 8, 8)
    expected, taught = forward(student, tile), {}
    monkeypatch.setattr(
        quantisation, "train", lambda model, *_, **options: taught.update(options, model=model)
    )
    for teacher in ({}, {"teacher": student}):
        quantisation_aware(student, [scene()], QUICK, sites=[SITE], **teacher)
        assert taught["model"] is student
        assert taught["teacher"] is not student
        assert torch.equal(forward(taught["teacher"], tile), expected)


class _Stop(KeyboardInterrupt):
    pass


def test_resume_continues_to_the_same_bits(tmp_path, monkeypatch):
    config = dataclasses.replace(QUICK, epochs=3, ema=0.5)
    options = {"sites": [SITE], "progress": False}
    expected = quantisation_aware(SmallNet(), [scene()], config, **options)
    path, original = tmp_path / "qat.pt", training._Trainer._epoch

    def interrupted(self, report):
        if self.epoch == 1:
            raise _Stop
        original(self, report)

    monkeypatch.setattr(training._Trainer, "_epoch", interrupted)
    stopped = SmallNet()
    with pytest.raises(_Stop):
        quantisation_aware(stopped, [scene()], config, checkpoint=path, **options)
    assert list(stopped.state_dict()) == list(SmallNet().state_dict())
    monkeypatch.setattr(training._Trainer, "_epoch", original)
    result = quantisation_aware(
        SmallNet(), [scene()], config, checkpoint=path, resume=True, **options
    )
    assert result.best == expected.best
    for name, value in expected.model.state_dict().items():
        assert torch.equal(result.model.state_dict()[name], value), name


def test_every_validation_is_announced():
    calls = []
    config = dataclasses.replace(QUICK, ema=0.5)
    train(SmallNet(), [scene()], config, progress=False, before_validation=lambda: calls.append(1))
    assert len(calls) == 1 + 2 * config.epochs  # initial weights; then own and average


def test_half_precision_trains():
    config = dataclasses.replace(QUICK, amp="bf16")
    result = quantisation_aware(SmallNet(), [scene()], config, sites=[SITE], progress=False)
    assert all(math.isfinite(entry["train_loss"]) for entry in result.history)


def test_a_compressed_network_is_saved_and_exported_as_before(tmp_path):
    model = create_model("lkca_net", bands=3, scale=2, blocks=1, channels=16)
    tile = torch.rand(1, 3, 8, 8)
    sites = require_sites(model, tile)
    student, _ = lowrank(model, sites[0], 8)
    result = quantisation_aware(
        student, [scene()], QUICK, sites=sites, teacher=model, progress=False
    )
    save_network(result.model, tmp_path / "student.safetensors")
    again = load_network(tmp_path / "student.safetensors").model
    torch.testing.assert_close(forward(again, tile), forward(result.model, tile), atol=0, rtol=0)
    compare(
        export_onnx(result.model, tile, tmp_path / "model.onnx", dynamic=False),
        result.model,
        [tile],
    )


class Convless(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, lr: Tensor) -> Tensor:
        return F.interpolate(lr * self.gain, scale_factor=2)


def test_nothing_to_quantise_is_refused():
    with pytest.raises(ModelError, match="nothing to quantise"):
        quantisation_aware(Convless(), [scene()], QUICK, sites=[SITE], progress=False)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (["nowhere"], "no layer 'nowhere'"),
        (["dropout"], "'dropout' is a Dropout without"),
        ([], "nothing to quantise"),
    ],
)
def test_layers_that_cannot_be_quantised_are_refused(layers, words):
    with pytest.raises(ModelError, match=words):
        quantisation_aware(
            SmallNet(), [scene()], QUICK, sites=[SITE], layers=layers, progress=False
        )


def test_a_scene_without_training_windows_is_refused():
    empty = dataclasses.replace(scene(), train=())
    with pytest.raises(DataError, match="no training windows"):
        quantisation_aware(SmallNet(), [empty], QUICK, sites=[SITE], progress=False)
