from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from edgesr.cube.degrade import bicubic_upsample, degrade
from edgesr.errors import DataError, OptionError


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_bicubic_is_the_antialiased_kernel_that_pillow_has(scale: int) -> None:
    image = np.random.default_rng(0).random((48, 72), dtype=np.float32)
    truth = Image.fromarray(image).resize((72 // scale, 48 // scale), Image.Resampling.BICUBIC)
    ours = degrade(torch.from_numpy(image)[None, None], scale, "bicubic")
    np.testing.assert_allclose(ours[0, 0].numpy(), np.asarray(truth), atol=1e-5)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_area_is_the_block_mean(scale: int) -> None:
    hr = torch.rand(2, 3, 16, 24)
    blocks = hr.reshape(2, 3, 16 // scale, scale, 24 // scale, scale)
    torch.testing.assert_close(degrade(hr, scale, "area"), blocks.mean(dim=(3, 5)))


def keys(distance: float, a: float) -> float:
    x = abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def test_bicubic_upsample_is_keys_kernel_with_a_075_and_half_pixel_centres() -> None:
    line = np.random.default_rng(1).random(16)
    image = torch.from_numpy(np.tile(line, (16, 1)))[None, None]
    ours = bicubic_upsample(image, 4)[0, 0, 32].numpy()
    for column in range(12, 52):
        position = (column + 0.5) / 4 - 0.5
        truth = sum(line[i] * keys(position - i, -0.75) for i in range(16))
        assert ours[column] == pytest.approx(truth, abs=1e-9)


def test_a_scale_that_does_not_divide_is_refused() -> None:
    with pytest.raises(DataError, match=r"scale 4 does not divide the image of 18 x 16 .* 16 x 16"):
        degrade(torch.zeros(1, 1, 18, 16), 4)


def test_unknown_methods_and_scales_are_refused() -> None:
    with pytest.raises(OptionError, match="bicubic, area"):
        degrade(torch.zeros(1, 1, 8, 8), 2, "nearest")
    with pytest.raises(OptionError, match="whole number"):
        degrade(torch.zeros(1, 1, 8, 8), 0)
