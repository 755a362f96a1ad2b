from __future__ import annotations

import pytest
import torch
from torch import nn

from edgesr.distill.average import WeightAverage


def one_weight(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def test_average_by_hand():
    layer = one_weight(0.0)
    average = WeightAverage(layer, 0.25)
    nn.init.constant_(layer.weight, 1.0)
    average.update(layer)  # decay 2/11: a young average forgets faster
    assert float(average.shadow["weight"]) == pytest.approx(9 / 11)
    average.update(layer)  # decay 3/12
    assert float(average.shadow["weight"]) == pytest.approx(1 - 2 / 11 * 0.25)
    average.update(layer)  # decay min(0.25, 4/13)
    assert float(average.shadow["weight"]) == pytest.approx(1 - 2 / 11 * 0.25 * 0.25)


def test_applied_weights_leave_again_even_after_an_error():
    layer = one_weight(2.0)
    average = WeightAverage(layer, 0.9)
    nn.init.constant_(layer.weight, 5.0)

    def fail_inside() -> None:
        with average.applied(layer):
            assert layer.weight.item() == 2.0
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    assert layer.weight.item() == 5.0


def test_counters_are_copied():
    norm = nn.BatchNorm2d(2)
    average = WeightAverage(norm, 0.9)
    norm(torch.rand(2, 2, 3, 3))
    average.update(norm)
    assert int(average.shadow["num_batches_tracked"]) == 1


def test_a_saved_average_continues():
    layer = one_weight(0.0)
    first = WeightAverage(layer, 0.9)
    nn.init.constant_(layer.weight, 1.0)
    first.update(layer)
    second = WeightAverage(one_weight(7.0), 0.9)
    second.load_state_dict(first.state_dict())
    first.update(layer)
    second.update(layer)
    assert torch.equal(first.shadow["weight"], second.shadow["weight"])
