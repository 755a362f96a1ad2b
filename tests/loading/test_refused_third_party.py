"""third-party networks that cannot be used: one line, exit code 2, nothing written."""

from __future__ import annotations

import re
import sys

import pytest
import torch

NETWORKS = """
import torch
import torch.nn.functional as F
from torch import nn


class Good(nn.Module):
    def __init__(self, bands=12):
        super().__init__()
        self.head = nn.Conv2d(bands, 8, 3, padding=1)
        self.up = nn.Conv2d(8, 48, 3, padding=1)

    def forward(self, x):
        return F.pixel_shuffle(self.up(F.relu(self.head(x))), 2)


class OtherLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(12, 48, 3, padding=1)


class Cropped(Good):
    def forward(self, x):
        return super().forward(x)[..., 1:, 1:]


class NoLarger(Good):
    def forward(self, x):
        return F.avg_pool2d(super().forward(x), 2)


class OneImage(Good):
    def forward(self, x):
        return super().forward(x.view(1, *x.shape[1:]))


class OverWrites(Good):
    def forward(self, x):
        y = torch.sigmoid(self.head(x))
        y *= y.mean()
        return F.pixel_shuffle(self.up(y), 2)


class Supervised(Good):
    def forward(self, x):
        y = super().forward(x)
        return [y, x] if self.training else y


class OtherInTraining(Good):
    def forward(self, x):
        return super().forward(x)[..., : 16 if self.training else None]


class OnlyAnswers(Good):
    def forward(self, x):
        if self.training:
            raise NotImplementedError("inference only")
        return super().forward(x)


class NoGradient(Good):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class NoWeights(nn.Module):
    def forward(self, x):
        return F.interpolate(x, scale_factor=2, mode="bicubic")


def raising():
    raise KeyError("width")


def exiting():
    raise SystemExit("usage: train.py --data DATA")


def needing(width):
    return Good(width)


def no_module():
    return {"network": Good()}


def seven_bands():
    return Good(bands=7)


def not_finite():
    model = Good()
    nn.init.constant_(model.head.weight, float("nan"))
    return model


def scripted():
    return torch.jit.script(Good())


def compiled():
    return torch.compile(Good())


def weightless():
    with torch.device("meta"):
        return Good()
"""

PROGRAM = 'raise SystemExit("usage: train.py --data DATA")'


@pytest.fixture
def strange(refused, materials, tmp_path, monkeypatch):
    """``edgesr compress`` of a factory, as ``refused`` runs it."""
    (tmp_path / "odd_networks.py").write_text(NETWORKS)
    (tmp_path / "odd_program.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(model: str, *arguments: object) -> str:
        good = ("--data", materials.cube, "--patch", 32, "--threads", 1, "--output", "run")
        return refused("compress", *good, "--model", model, *arguments)

    yield run
    sys.modules.pop("odd_networks", None)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raising", r"failed \(KeyError: 'width'\); it must build the network without arg"),
        ("exiting", r"failed \(SystemExit: usage: train.py --data DATA\)"),
        ("needing", r"failed \(TypeError: needing\(\) missing 1 required"),
        ("no_module", "returned a dict; it must return a torch.nn.Module"),
        ("scripted", "returned a RecursiveScriptModule, whose layers cannot be replaced; let it"),
        ("compiled", "returned a OptimizedModule, whose layers cannot be replaced"),
        ("weightless", "returned a network without weights, on the meta device"),
        ("seven_bands", r"does not run on a tile \[1, 12, 16, 16\] of this data .*--bands"),
        ("not_finite", "holds values that are not finite, in head.weight; use other weights"),
        ("Cropped", r"turns \[1, 12, 16, 16\] into \[1, 12, 31, 31\], not a larger image"),
        ("NoLarger", r"turns \[1, 12, 16, 16\] into \[1, 12, 16, 16\], not a larger image"),
        ("OneImage", "takes one image at a time; .* let its forward take any"),
        ("Supervised", r"in training mode the network gives list, not \[1, 12, 32, 32\]"),
        ("OtherInTraining", r"in training mode the network gives \[1, 12, 32, 16\], not"),
        ("OnlyAnswers", r"not run in training mode \(NotImplementedError: inference only\)"),
        ("NoGradient", "no gradient passes the network, so it cannot be trained"),
        ("OverWrites", r"no gradient passes the network \(RuntimeError: .* x = x \+ y for x \+= y"),
        ("NoWeights", "has no learnable upsampler"),
    ],
)
def test_a_network_that_cannot_be_used(strange, name, reason):
    line = strange(f"odd_networks:{name}")
    assert re.search(reason, line), line


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("odd_networks.py:Good", "whose first part is a file; name the module as import does"),
        ("nets/odd_networks:Good", "whose first part is a file"),
        ("odd_program:net", "cannot import odd_program (SystemExit: usage: train.py"),
        ("odd_networks:good", "has no function 'good'"),
    ],
)
def test_a_name_that_leads_to_no_network(strange, model, reason):
    assert reason in strange(model)


def test_a_state_dict_of_another_class(strange, tmp_path):
    from odd_networks import Good, OtherLayers

    for number, network in enumerate((OtherLayers(), Good(bands=7))):
        weights = tmp_path / f"{number}.pt"
        torch.save(network.state_dict(), weights)
        line = strange("odd_networks:Good", "--weights", weights)
        assert "does not fit the network Good: " in line
    assert "1 of another shape (head.weight is [8, 7, 3, 3] instead of [8, 12, 3, 3])" in line
