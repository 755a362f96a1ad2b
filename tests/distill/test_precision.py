"""Mixed precision where it is quicker, and only where the networks run in it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgesr.distill import precision
from edgesr.distill.precision import autocast, choose, computes_bf16

CPU = torch.device("cpu")


class Blended(nn.Module):
    """A convolution, blended with its input, which must be of the same type."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.lerp(x, self.layer(x), 0.5)


class Overflowing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 0


def chosen(asked: precision.Precision, *networks: nn.Module) -> str:
    return choose(asked, CPU, networks, lambda: torch.rand(1, 3, 8, 8))


@pytest.fixture
def capable(monkeypatch) -> None:
    monkeypatch.setattr(precision, "computes_bf16", lambda device: True)


def test_bfloat16_where_the_processor_has_it_and_every_network_runs(capable):
    plain = nn.Conv2d(3, 3, 3).train()
    assert chosen("auto", plain) == "bf16"
    assert plain.training
    assert chosen("auto", plain, Overflowing()) == "off"
    assert chosen("auto", Blended(), plain) == "off"


def test_what_is_asked_for_is_taken_as_it_is(capable):
    for asked in ("off", "bf16", "fp16"):
        assert chosen(asked, Overflowing()) == asked


@pytest.mark.parametrize(
    ("found", "native"),
    [
        ({"avx512_f": True, "avx512_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"architecture": "aarch64", "neon": True, "bf16": True}, True),
        ({"architecture": "aarch64", "neon": True}, False),
    ],
)
def test_a_processor_without_instructions_for_it_stays_in_float32(monkeypatch, found, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert computes_bf16(CPU) == native
    assert chosen("auto", nn.Conv2d(3, 3, 3)) == ("bf16" if native else "off")


def test_an_older_torch_that_cannot_say_stays_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not computes_bf16(CPU)


def test_autocast_is_what_it_says():
    layer, image = nn.Conv2d(3, 3, 1), torch.rand(1, 3, 4, 4)
    with autocast("bf16", CPU):
        assert layer(image).dtype == torch.bfloat16
    with autocast("off", CPU):
        assert layer(image).dtype == torch.float32
