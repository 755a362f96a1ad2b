"""What every distillation has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor


@dataclass(frozen=True)
class Outputs:
    """What a step has made; nothing but the student's has a gradient.

    Attributes:
        student, teacher: what the networks put out, float32 [N, B, H, W].
        student_features, teacher_features: what their upsamplers put out, [N, C, H, W] a site, in
            the precision of the layers; empty where the distillation has no use for them.
        weight: of the comparison of features, ``D * alpha`` with its decay.
        terms: weights of that comparison, by the names that ``kd_loss`` has for them.
        truth: the loss between student and ground truth that the training asks for.
    """

    student: Tensor
    teacher: Tensor
    student_features: list[Tensor]
    teacher_features: list[Tensor]
    weight: float
    terms: dict[str, float]
    truth: Callable[[], Tensor]


class Distillation(ABC):
    """One way to learn from a teacher. It keeps nothing from step to step.

    Attributes:
        name: what ``--distil`` calls it.
        features: whether it compares what upsamplers put out.
    """

    name: ClassVar[str]
    features: ClassVar[bool] = False

    def inputs(self, lr: Tensor, hr: Tensor) -> Tensor:
        """LR images [N, B, h, w] that both networks are given, of those of a batch.

        Draw from torch's own generator, so that a training can be continued.
        """
        return lr

    @abstractmethod
    def loss(self, made: Outputs) -> Tensor:
        """The loss of a step, a scalar."""
