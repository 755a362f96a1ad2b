"""The options of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edgesr.distill.precision import PRECISIONS, Precision
from edgesr.distill.registry import DISTILLATIONS
from edgesr.errors import OptionError

LossName = Literal["hh", "dacn", "dacn-published", "mse"]
LOSSES = get_args(LossName)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training besides the network, the scenes and the teacher.

    Attributes:
        epochs: passes of ``steps_per_epoch`` steps; 0 only measures the initial weights.
        batch: patches in a step, over all processes.
        steps_per_epoch: steps in an epoch; None for as many as use every training window once.
        learning_rate: Adam's rate after the warm-up.
        final_learning_rate: Adam's rate in the last step, reached along a cosine.
        loss: "hh" (LKCA-Net), "dacn", "dacn-published" (without the spectral term) or "mse".
        patience: epochs without a better tuning MPSNR after which training stops; None for
            never.
        clip: largest norm of the gradient; None for no limit.
        ema: decay of the moving average of the weights, which is validated beside the weights
            themselves (0.999, say); None for no average.
        warmup_steps: steps over which the rate rises from 0.
        distil: what is learnt from a teacher, where there is one: a name of
            :data:`edgesr.distill.registry.DISTILLATIONS`. "paper" adds LKCA-Net's comparison of
            features to the loss; the options below are of that.
        alpha: weight of distillation.
        decay: factor on ``alpha`` every ``decay_every`` epochs.
        decay_every: epochs between two decays.
        kd_cos, kd_sam, kd_grad: weights of the terms of the distillation loss.
        seed: decides patches, flips and DropPath.
        device: "cpu", "cuda" or "cuda:1".
        amp: "bf16" or "fp16" (CUDA only) for mixed precision; "auto" for bf16 where the device
            computes in it and the networks run in it. Losses are always float32.
        mix: share of each batch that comes from the scenes after the first.
        focus: last share of the epochs, which uses the first scene alone.
        jitter: draw patches anywhere in the training regions, where the scene knows them, instead
            of at its fixed training windows.
    """

    epochs: int
    batch: int = 32
    steps_per_epoch: int | None = None
    learning_rate: float = 2e-3
    final_learning_rate: float = 2e-4
    loss: LossName = "hh"
    patience: int | None = None
    clip: float | None = 1.0
    ema: float | None = None
    warmup_steps: int = 0
    distil: str = "paper"
    alpha: float = 0.01
    decay: float = 0.66
    decay_every: int = 10
    kd_cos: float = 0.5
    kd_sam: float = 0.5
    kd_grad: float = 0.1
    seed: int = 0
    device: str = "cpu"
    amp: Precision = "off"
    mix: float = 0.5
    focus: float = 0.3
    jitter: bool = True

    def __post_init__(self) -> None:
        rules = {
            "epochs": (self.epochs >= 0, "0 or more"),
            "batch": (self.batch >= 1, "1 or more"),
            "steps_per_epoch": (self.steps_per_epoch is None or self.steps_per_epoch >= 1, ">= 1"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "final_learning_rate": (self.final_learning_rate > 0, "above 0"),
            "loss": (self.loss in LOSSES, f"{', '.join(LOSSES[:-1])} or {LOSSES[-1]}"),
            "patience": (self.patience is None or self.patience >= 1, "1 or more, or none"),
            "clip": (self.clip is None or self.clip > 0, "above 0, or none"),
            "ema": (self.ema is None or 0 < self.ema < 1, "between 0 and 1, or none"),
            "warmup_steps": (self.warmup_steps >= 0, "0 or more"),
            "distil": (self.distil in DISTILLATIONS, f"one of {', '.join(DISTILLATIONS)}"),
            "alpha": (self.alpha >= 0, "0 or more"),
            "decay": (0 < self.decay <= 1, "above 0 and at most 1"),
            "decay_every": (self.decay_every >= 1, "1 or more"),
            "kd_cos": (self.kd_cos >= 0, "0 or more"),
            "kd_sam": (self.kd_sam >= 0, "0 or more"),
            "kd_grad": (self.kd_grad >= 0, "0 or more"),
            "seed": (self.seed >= 0, "0 or more"),
            "amp": (
                self.amp in PRECISIONS,
                f"{', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}",
            ),
            "mix": (0 <= self.mix < 1, "0 or more and below 1"),
            "focus": (0 <= self.focus <= 1, "from 0 to 1"),
        }
        for name, (valid, allowed) in rules.items():
            if not valid:
                raise OptionError(f"{name} must be {allowed}, received {getattr(self, name)!r}")
