from __future__ import annotations

import pytest
import torch
from edgesr_export.errors import ExportError
from edgesr_export.verify import compare
from torch import nn


@pytest.fixture
def scaled(write_operator, tmp_path):
    """A file that doubles its input, of any size."""
    return write_operator("Add(x, x)", tmp_path / "double.onnx")


class Affine(nn.Module):
    def __init__(self, factor: float, offset: float) -> None:
        super().__init__()
        self.factor, self.offset = factor, offset

    def forward(self, x):
        return self.factor * x + self.offset


def test_the_largest_difference_over_all_inputs_is_found(scaled):
    inputs = [torch.zeros(1, 3, 4, 4), torch.full((2, 3, 5, 6), 0.5), torch.zeros(1, 3, 2, 2)]
    agreement = compare(scaled, Affine(2.5, 0.0), inputs, tolerance=1)
    assert agreement.max_abs_difference == pytest.approx(0.25)
    assert agreement.inputs == ((1, 3, 4, 4), (2, 3, 5, 6), (1, 3, 2, 2))


def test_a_difference_beyond_tolerance_is_an_error(scaled):
    with pytest.raises(ExportError, match=r"differs from the network by 1\.00e-03"):
        compare(scaled, Affine(2.0, 1e-3), [torch.rand(1, 3, 4, 4)])


class Cancelling(nn.Module):
    """2 x + wrong, after a detour through a large number."""

    def __init__(self, wrong: float = 0.0) -> None:
        super().__init__()
        self.large = nn.Parameter(torch.tensor(3e4))
        self.wrong = wrong

    def forward(self, x):
        return (2 * x + self.large) - self.large + self.wrong


def test_roundings_of_large_activations_are_no_disagreement(scaled):
    image = torch.rand(1, 3, 16, 16)
    agreement = compare(scaled, Cancelling(), [image])
    assert agreement.max_abs_difference > 5e-4
    off = (2 * image - Cancelling()(image)).abs().max().item()  # 2 x itself is exact
    assert agreement.rounding == pytest.approx(4 * off, rel=1e-3)


def test_what_is_further_off_than_float32_itself_disagrees(scaled):
    with pytest.raises(ExportError, match="differs from the network by"):
        compare(scaled, Cancelling(wrong=0.02), [torch.rand(1, 3, 16, 16)])


def test_not_finite_is_an_error_and_never_agreement(scaled):
    with pytest.raises(ExportError, match="not finite"):
        compare(scaled, Affine(float("nan"), 0.0), [torch.rand(1, 3, 4, 4)])


def test_another_shape_is_an_error(scaled):
    with pytest.raises(ExportError, match="answers"):
        compare(scaled, nn.PixelUnshuffle(2), [torch.rand(1, 3, 4, 4)])


def test_no_input_is_no_proof(scaled):
    with pytest.raises(ExportError, match="no input"):
        compare(scaled, nn.Identity(), [])


def test_the_module_is_asked_in_evaluation_mode_and_left_in_its_own(scaled):
    module = nn.Sequential(Affine(2.0, 0.0), nn.Dropout(0.9)).train()
    module[0].eval()
    assert compare(scaled, module, [torch.rand(1, 3, 4, 4)]).max_abs_difference == 0
    assert (module.training, module[0].training, module[1].training) == (True, False, True)
