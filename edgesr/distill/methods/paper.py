"""LKCA-Net's: the ground truth, and the upsamplers' features with a weight that decays."""

from __future__ import annotations

from torch import Tensor

from edgesr.distill.fused import kd_loss
from edgesr.distill.methods._base import Distillation, Outputs
from edgesr.distill.registry import register


@register
class Paper(Distillation):
    """HH + D * alpha * KD."""

    name, features = "paper", True

    def loss(self, made: Outputs) -> Tensor:
        apart = kd_loss(made.student_features, made.teacher_features, **made.terms)
        return made.truth() + made.weight * apart
