"""The ground truth and the teacher's output, half and half."""

from __future__ import annotations

from torch import Tensor

from edgesr.distill.fused import l1_loss
from edgesr.distill.methods._base import Distillation, Outputs
from edgesr.distill.registry import register


@register
class Mix(Distillation):
    """Half the loss to the truth, half L1 between the two outputs."""

    name = "mix"

    def loss(self, made: Outputs) -> Tensor:
        return 0.5 * (made.truth() + l1_loss(made.student, made.teacher))
