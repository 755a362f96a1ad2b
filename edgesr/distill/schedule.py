"""How the learning rate and the weight of distillation change during a training."""

from __future__ import annotations

import math


def decay(epoch: int, d: float = 0.66, every: int = 10) -> float:
    """Weight D = d^floor(epoch / every) of distillation in ``epoch`` (counted from 0).

    LKCA-Net, "Losses and training": d = 0.66, f = 10, so the teacher fades as the student learns.

    >>> decay(9), round(decay(25), 4)
    (1.0, 0.4356)
    """
    return d ** (epoch // every)


def learning_rate(
    step: int, steps: int, *, initial: float = 2e-3, final: float = 2e-4, warmup: int = 0
) -> float:
    """Learning rate of ``step`` (counted from 0) in a training of ``steps`` steps.

    Rises linearly to ``initial`` over the first ``warmup`` steps, then falls along half a cosine
    and reaches ``final`` in the last step: what torch's LinearLR and CosineAnnealingLR make of one
    step after the other, in closed form, so that a checkpoint needs no state of it.

    >>> [round(learning_rate(step, 3), 4) for step in range(3)]
    [0.002, 0.0011, 0.0002]
    """
    if step < warmup:
        return initial * (step + 1) / warmup
    travelled = (step - warmup) / max(1, steps - warmup - 1)
    return final + (initial - final) * (1 + math.cos(math.pi * min(1.0, travelled))) / 2
