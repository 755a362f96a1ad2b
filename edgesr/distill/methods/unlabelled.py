"""The teacher's output on images that have no ground truth."""

from __future__ import annotations

import torch
from torch import Tensor

from edgesr.distill.methods.output import Output
from edgesr.distill.registry import register


@register
class Unlabelled(Output):
    """:class:`Output` on LR patches mixed with pieces of other patches at their full resolution.

    Such a piece shows the scene at another scale; a mix of both, with a share drawn for every
    patch, shows what no patch does. No image is outside the range of what it is made of.
    """

    name = "unlabelled"

    def inputs(self, lr: Tensor, hr: Tensor) -> Tensor:
        height, width = lr.shape[2:]
        row, column = (
            int(torch.randint(large - small + 1, ()))
            for large, small in zip(hr.shape[2:], (height, width), strict=True)
        )
        pieces = hr[:, :, row : row + height, column : column + width]
        others = pieces[torch.randperm(len(hr)).to(hr.device)]
        share = torch.rand(len(lr), 1, 1, 1).to(lr.device)
        return torch.lerp(others, lr, share)
