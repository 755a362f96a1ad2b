"""The teacher's output alone, without ground truth."""

from __future__ import annotations

from torch import Tensor

from edgesr.distill.fused import l1_loss
from edgesr.distill.methods._base import Distillation, Outputs
from edgesr.distill.registry import register


@register
class Output(Distillation):
    """L1 between the two outputs."""

    name = "output"

    def loss(self, made: Outputs) -> Tensor:
        return l1_loss(made.student, made.teacher)
