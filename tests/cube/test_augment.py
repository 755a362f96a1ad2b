from __future__ import annotations

import torch

from edgesr.cube.augment import SYMMETRIES, augment
from edgesr.cube.degrade import degrade


def test_all_eight_symmetries_differ_and_zero_is_none() -> None:
    image = torch.arange(2 * 9.0).reshape(2, 3, 3)
    turned = {tuple(augment(image, image, k)[0].flatten().tolist()) for k in range(SYMMETRIES)}
    assert len(turned) == 8
    assert torch.equal(augment(image, image, 0)[0], image)


def test_lr_and_hr_stay_the_same_view() -> None:
    hr = torch.rand(3, 16, 16)
    lr = degrade(hr[None], 4, "area")[0]
    for k in range(SYMMETRIES):
        turned_lr, turned_hr = augment(lr, hr, k)
        torch.testing.assert_close(degrade(turned_hr[None], 4, "area")[0], turned_lr)
