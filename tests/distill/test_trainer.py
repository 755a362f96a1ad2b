from __future__ import annotations

import dataclasses
import logging
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from distill_fakes import SITE, SmallNet, scene
from torch import nn

from edgesr.cli.logs import logging_to
from edgesr.distill import trainer
from edgesr.distill.losses import kd_loss
from edgesr.distill.trainer import TrainConfig, train
from edgesr.errors import DataError, ModelError, OptionError
from edgesr.evaluation.evaluate import evaluate
from edgesr.models import create_model

QUICK = TrainConfig(epochs=4, batch=4, steps_per_epoch=3, ema=0.5)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_bits(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


def without_time(history: list[dict]) -> list[dict]:
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in history]


def test_training_improves_validation_and_returns_what_validated_best():
    model, target = SmallNet(), scene(regions=True)
    before = evaluate(model, target, "tuning")
    result = train(model, [target], TrainConfig(epochs=5, batch=4), progress=False)
    after = evaluate(result.model, target, "tuning")
    assert result.model is model
    assert after["mpsnr"] > before["mpsnr"] + 0.2
    assert after["mpsnr"] == pytest.approx(result.best["tuning_mpsnr"], abs=1e-6)
    assert after["sam"] == pytest.approx(result.best["tuning_sam"], abs=1e-6)
    assert [entry["epoch"] for entry in result.history] == [1, 2, 3, 4, 5]
    assert {"epoch", "train_loss", "tuning_mpsnr", "tuning_sam", "lr", "seconds"} <= set(
        result.history[0]
    )
    assert result.history[-1]["lr"] == pytest.approx(2e-4)
    assert max(entry["tuning_mpsnr"] for entry in result.history) == result.best["tuning_mpsnr"]


def test_three_dimensional_convolutions_train():
    model = create_model("3dfcnn", bands=3, scale=2)
    assert any(weight.ndim == 5 for weight in model.parameters())
    result = train(model, [scene()], QUICK, progress=False)
    assert len(result.history) == QUICK.epochs


class ViewingNet(SmallNet):
    """Takes for granted, as networks do, that a convolution gives planes."""

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        hidden = self.head(lr)
        tokens = hidden.view(*hidden.shape[:2], -1)
        return super().forward(lr) + 0 * tokens.mean()


def test_a_network_that_views_its_features_as_planes_trains_and_distils():
    model = ViewingNet()
    train(model, [scene()], QUICK, progress=False)
    train(ViewingNet(seed=1), [scene()], QUICK, teacher=model, sites=[SITE], progress=False)


def test_initial_weights_are_kept_when_training_only_harms():
    model = SmallNet()
    before = weights(model)
    config = TrainConfig(epochs=2, batch=4, learning_rate=3.0, final_learning_rate=3.0, clip=None)
    result = train(model, [scene()], config, progress=False)
    assert result.best["epoch"] == 0
    assert_same_bits(weights(result.model), before)


def test_no_epochs_measure_the_initial_weights():
    result = train(SmallNet(), [scene()], TrainConfig(epochs=0), progress=False)
    assert result.history == []
    assert result.best["epoch"] == 0
    assert result.best["tuning_mpsnr"] > 10


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    runs = [
        train(SmallNet(dropout=0.2), [scene()], config, progress=False)
        for config in (QUICK, QUICK, TrainConfig(epochs=4, batch=4, steps_per_epoch=3, seed=1))
    ]
    assert_same_bits(weights(runs[0].model), weights(runs[1].model))
    assert without_time(runs[0].history) == without_time(runs[1].history)
    assert runs[0].history[0]["train_loss"] != runs[2].history[0]["train_loss"]


class _Stop(KeyboardInterrupt):
    pass


@pytest.mark.parametrize("teaching", [False, True], ids=["alone", "taught"])
def test_resume_continues_to_the_same_bits(tmp_path, monkeypatch, teaching):
    scenes = [scene(regions=True), scene(seed=1)]
    taught = {"teacher": SmallNet(seed=5), "sites": [SITE]} if teaching else {}
    expected = train(SmallNet(dropout=0.2), scenes, QUICK, progress=False, **taught)

    path = tmp_path / "deep" / "training.pt"
    original = trainer._Trainer._epoch

    def interrupted(self, report):
        if self.epoch == 2:
            raise _Stop
        original(self, report)

    monkeypatch.setattr(trainer._Trainer, "_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(SmallNet(dropout=0.2), scenes, QUICK, checkpoint=path, progress=False, **taught)
    monkeypatch.undo()
    fresh = SmallNet(dropout=0.2, seed=77)  # its weights come from the checkpoint
    resumed = train(fresh, scenes, QUICK, checkpoint=path, resume=True, progress=False, **taught)
    assert_same_bits(weights(resumed.model), weights(expected.model))
    assert without_time(resumed.history) == without_time(expected.history)
    assert resumed.best == expected.best


def test_resume_of_a_finished_training_returns_its_result(tmp_path):
    path = tmp_path / "training.pt"
    first = train(SmallNet(), [scene()], QUICK, checkpoint=path, progress=False)
    expected, stamp = weights(first.model), path.stat().st_mtime_ns
    again = train(SmallNet(seed=9), [scene()], QUICK, checkpoint=path, resume=True, progress=False)
    assert_same_bits(weights(again.model), expected)
    assert again.history == first.history
    assert path.stat().st_mtime_ns == stamp


def test_files_of_earlier_versions_call_the_tuning_figures_otherwise(tmp_path):
    path = tmp_path / "training.pt"
    first = train(SmallNet(), [scene()], QUICK, checkpoint=path, progress=False)

    def earlier(entry):
        return {name.replace("tuning_", "val_"): value for name, value in entry.items()}

    content = torch.load(path, weights_only=True)
    state = content["state"]
    state["history"] = [earlier(entry) for entry in state["history"]]
    state["best"] = earlier(state["best"])
    torch.save(content, path)
    again = train(SmallNet(seed=9), [scene()], QUICK, checkpoint=path, resume=True, progress=False)
    assert (again.history, again.best) == (first.history, first.best)
    followed = train(SmallNet(), [scene()], QUICK, progress=False, keep=state["best"])
    assert followed.best == first.best
    assert_same_bits(weights(followed.model), weights(first.model))


def test_a_teacher_may_count_how_often_it_was_used_but_not_be_another(tmp_path):
    class Counting(SmallNet):
        def __init__(self, **options):
            super().__init__(**options)
            self.register_buffer("calls", torch.tensor(0))

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    def trained(teacher, **further):
        taught = {"teacher": teacher, "sites": [SITE]}
        path = tmp_path / "training.pt"
        return train(
            SmallNet(), [scene()], QUICK, checkpoint=path, progress=False, **taught, **further
        )

    first = trained(Counting(seed=5))
    again = trained(Counting(seed=5), resume=True)
    assert_same_bits(weights(again.model), weights(first.model))
    used = Counting(seed=5)
    used.calls += 9
    trained(used, resume=True)
    with pytest.raises(OptionError, match="teacher was"):
        trained(Counting(seed=6), resume=True)


def test_resume_without_a_checkpoint_starts_anew(tmp_path):
    path = tmp_path / "training.pt"
    result = train(SmallNet(), [scene()], QUICK, checkpoint=path, resume=True, progress=False)
    assert len(result.history) == 4
    assert path.exists()


@pytest.mark.parametrize(
    ("config", "net", "reason"),
    [
        (TrainConfig(epochs=5, batch=4, steps_per_epoch=3, ema=0.5), SmallNet(), "epochs"),
        (QUICK, SmallNet(width=6), "layers"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, config, net, reason):
    path = tmp_path / "training.pt"
    train(SmallNet(), [scene()], QUICK, checkpoint=path, progress=False)
    with pytest.raises(OptionError, match=reason) as refusal:
        train(net, [scene()], config, checkpoint=path, resume=True, progress=False)
    assert len(str(refusal.value)) < 400


def test_patience_stops_a_training_that_no_longer_improves():
    config = TrainConfig(
        epochs=50, batch=4, learning_rate=1e-12, final_learning_rate=1e-12, patience=3, clip=None
    )
    model = SmallNet()
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    result = train(model, [scene()], config, progress=False)
    assert len(result.history) - result.best["epoch"] == 3


def test_the_average_is_kept_when_it_validates_better():
    config = TrainConfig(
        epochs=6, batch=2, steps_per_epoch=20, ema=0.95, learning_rate=2e-2,
        final_learning_rate=2e-2,
    )  # fmt: skip
    result = train(SmallNet(), [scene(regions=True)], config, progress=False)
    assert result.best["weights"] == "average"
    measured = evaluate(result.model, scene(), "tuning")["mpsnr"]
    assert measured == pytest.approx(result.best["tuning_mpsnr"], abs=1e-6)


def test_distillation_leaves_the_teacher_alone_and_pulls_the_student_towards_it():
    steady = TrainConfig(epochs=4, batch=4, steps_per_epoch=20)
    teacher = train(SmallNet(seed=5), [scene(regions=True)], steady, progress=False).model
    teacher.train()
    before = weights(teacher)
    lr = next(scene().samples("test")).lr[None]
    distances = []
    for alpha in (0.0, 10.0):
        config = dataclasses.replace(steady, alpha=alpha, decay_every=99)
        student = train(
            SmallNet(seed=6), [scene(regions=True)], config,
            teacher=teacher, sites=[SITE], progress=False,
        ).model  # fmt: skip
        with torch.no_grad():
            hidden = [net.upsampler(F.gelu(net.head(lr))) for net in (student, teacher)]
            distances.append(float(kd_loss(*(F.pixel_shuffle(h, 2) for h in hidden))))
    assert distances[1] < 0.8 * distances[0]
    assert teacher.training
    assert_same_bits(weights(teacher), before)
    assert all(weight.grad is None for weight in teacher.parameters())
    assert not teacher.upsampler._forward_hooks


def test_distillation_follows_a_layer_that_surgery_replaced():
    student = SmallNet()
    student.upsampler = nn.Sequential(nn.Conv2d(8, 2, 3, padding=1), nn.Conv2d(2, 12, 1))
    result = train(
        student, [scene()], QUICK, teacher=SmallNet(seed=1), sites=[SITE], progress=False
    )
    assert len(result.history) == 4


class Grouped(nn.Module):
    """Runs a 3-band network on overlapping band groups, as DACN's wrapper does."""

    def __init__(self) -> None:
        super().__init__()
        self.core = SmallNet(bands=3)
        self.starts = (0, 2)

    def split(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[:, s : s + 3] for s in self.starts], dim=1).flatten(0, 1)

    def merge(self, y: torch.Tensor, n: int) -> torch.Tensor:
        y = y.unflatten(0, (n, 2))
        shared = (y[:, 0, 2:] + y[:, 1, :1]) / 2
        return torch.cat((y[:, 0, :2], shared, y[:, 1, 1:]), dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.merge(self.core(self.split(x)), len(x))


@pytest.mark.parametrize("loss", ["dacn", "dacn-published", "hh"])
def test_models_of_band_groups_train_their_core_on_groups(loss):
    model, sizes = Grouped(), set()
    model.core.head.register_forward_hook(
        lambda layer, inputs, _: sizes.add(inputs[0].shape[:2]) if layer.training else None
    )
    site = SimpleNamespace(**{**vars(SITE), "layers": ("core.upsampler",)})
    config = TrainConfig(epochs=3, batch=4, loss=loss)
    result = train(model, [scene(bands=5)], config, teacher=Grouped(), sites=[site], progress=False)
    assert sizes == {(8, 3)}
    assert result.best["epoch"] > 0


def test_mixed_precision_on_the_cpu_trains_float32_weights():
    config = TrainConfig(epochs=3, batch=4, amp="bf16")
    result = train(SmallNet(), [scene()], config, progress=False)
    assert result.best["epoch"] > 0
    assert all(value.dtype == torch.float32 for value in weights(result.model).values())


def test_weights_come_back_contiguous_and_the_random_state_untouched():
    model = SmallNet()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train(model, [scene()], QUICK, progress=False)
    assert torch.equal(torch.rand(2), expected)
    assert all(value.is_contiguous() for value in weights(model).values())
    assert not model.training


def test_progress_goes_to_stderr_alone(capsys):
    with logging_to(logging.INFO):
        train(SmallNet(), [scene()], QUICK)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "epoch 4/4" in captured.err


def test_a_diverging_training_says_so_and_leaves_no_checkpoint(tmp_path):
    class Broken(SmallNet):
        def forward(self, lr):
            return super().forward(lr) * (torch.nan if self.training else 1)

    checkpoint = tmp_path / "net.checkpoint"
    with pytest.raises(ModelError, match="diverged in epoch 1"):
        train(Broken(), [scene()], QUICK, progress=False, checkpoint=checkpoint)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"epochs": -1}, "epochs must be 0 or more, received -1"),
        ({"batch": 0}, "batch"),
        ({"loss": "l7"}, "hh, dacn"),
        ({"amp": "fp8"}, "bf16"),
        ({"ema": 1.0}, "ema"),
        ({"mix": 1.0}, "mix"),
    ],
)
def test_options_out_of_range_are_refused(options, reason):
    with pytest.raises(OptionError, match=reason):
        TrainConfig(**{"epochs": 1, **options})


def test_combinations_that_cannot_train_are_refused():
    with pytest.raises(OptionError, match="sites"):
        train(SmallNet(), [scene()], QUICK, teacher=SmallNet(), progress=False)
    with pytest.raises(OptionError, match="fp16 needs a CUDA"):
        train(SmallNet(), [scene()], TrainConfig(epochs=1, amp="fp16"), progress=False)
    empty = dataclasses.replace(scene(), tuning=())
    with pytest.raises(DataError, match="no tuning windows"):
        train(SmallNet(), [empty], QUICK, progress=False)
    site = SimpleNamespace(**{**vars(SITE), "layers": ("missing",)})
    with pytest.raises(ModelError, match="no layer 'missing'"):
        train(SmallNet(), [scene()], QUICK, teacher=SmallNet(), sites=[site], progress=False)
    other = SmallNet()
    other.upsampler = nn.Conv2d(8, 24, 3, padding=1)
    other.forward = lambda lr: other.upsampler(other.head(lr))
    with pytest.raises(ModelError, match="same bands"):
        train(SmallNet(), [scene()], QUICK, teacher=other, sites=[SITE], progress=False)


def test_progress_names_the_role_that_chooses_an_epoch(caplog):
    with caplog.at_level("INFO", logger="edgesr"):
        train(SmallNet(), [scene()], dataclasses.replace(QUICK, epochs=1), progress=True)
    (line,) = [one for one in caplog.messages if one.startswith("epoch 1/1")]
    assert " tuning " in line
    assert "validation" not in line
