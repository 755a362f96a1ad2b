from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgesr.errors import OptionError
from edgesr.surgery.backbone import find_layers
from edgesr.surgery.calibrate import moments
from edgesr.surgery.passes.lowrank import FactorisedLinear, factorise, lowrank, rank_for_error
from edgesr.surgery.structure import apply_changes, changes_of


class Pixelwise(nn.Module):
    """A multilayer perceptron at every pixel, before the upsampler."""

    def __init__(self, inputs: int = 6, outputs: int = 20, bias: bool = True) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, outputs, bias=bias)
        self.up = nn.Conv2d(outputs, 4 * inputs, 1)

    def forward(self, x):
        hidden = self.fc(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return F.pixel_shuffle(self.up(hidden), 2)


def linear(model, x):
    return next(site for site in find_layers(model, x) if site.kind == "linear")


def output_error(student, model, x):
    vectors = x.permute(0, 2, 3, 1)
    with torch.no_grad():
        return float((student.fc(vectors) - model.fc(vectors)).double().square().mean())


@pytest.mark.parametrize("aware", [False, True], ids=["weights", "data"])
def test_full_rank_is_the_original(aware, example):
    torch.manual_seed(0)
    model = Pixelwise().eval()
    site = linear(model, example)
    student, _ = lowrank(model, site, 6, moments(model, site, [example]) if aware else None)
    assert isinstance(student.fc, FactorisedLinear)
    torch.testing.assert_close(student(example), model(example), atol=1e-5, rtol=0)


def test_weight_space_form_is_the_truncated_svd_of_numpy(example):
    torch.manual_seed(0)
    model = Pixelwise()
    student, _ = lowrank(model, linear(model, example), 3)
    left, values, right = np.linalg.svd(model.fc.weight.detach().double().numpy())
    expected = left[:, :3] * values[:3] @ right[:3]
    product = student.fc.expand.weight @ student.fc.reduce.weight
    np.testing.assert_allclose(product.detach(), expected, atol=1e-6)
    assert torch.equal(student.fc.expand.bias, model.fc.bias)


@given(
    inputs=st.integers(2, 9),
    outputs=st.integers(2, 9),
    rank=st.integers(1, 9),
    bias=st.booleans(),
    features=st.sampled_from(["random", "constant", "zero", "dead"]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=40)
def test_no_other_form_of_the_rank_is_better_on_the_data(
    inputs, outputs, rank, bias, features, seed
):
    torch.manual_seed(seed)
    x = torch.randn(2, inputs, 6, 7) * torch.rand(inputs, 1, 1) + torch.rand(inputs, 1, 1)
    if features == "constant":
        x = torch.ones_like(x) * torch.rand(inputs, 1, 1)
    elif features != "random":
        x[:, :: 1 if features == "zero" else 3] = 0
    model = Pixelwise(inputs, outputs, bias)
    site = linear(model, x)
    rank = min(rank, site.max_rank)
    aware, _ = lowrank(model, site, rank, moments(model, site, [x]))
    plain, _ = lowrank(model, site, rank)
    best = output_error(aware, model, x)
    scale = float(model.fc(x.permute(0, 2, 3, 1)).detach().square().mean())
    assert best <= output_error(plain, model, x) * (1 + 1e-5) + 1e-11 * scale
    baseline, _ = lowrank(model, site, rank)
    with torch.no_grad():  # a random basis of the inputs, and the best that can follow it
        baseline.fc.reduce.weight.normal_()
        vectors = x.permute(0, 2, 3, 1).reshape(-1, inputs)
        design = baseline.fc.reduce(vectors)
        if bias:
            design = torch.cat([design, torch.ones(len(design), 1)], 1)
        wanted = model.fc(vectors).double().numpy()
        met = design.double().numpy()
        solution = np.linalg.lstsq(met, wanted, rcond=None)[0]
        rival_error = float(np.square(met @ solution - wanted).mean())
    assert best <= rival_error * (1 + 1e-4) + 1e-9 * scale


@given(error=st.sampled_from([0, 1e-6, 1e-3, 0.01, 0.1, 0.5]), bias=st.booleans())
@settings(deadline=None, max_examples=12)
def test_rank_for_error_is_the_smallest_that_keeps_it(error, bias):
    torch.manual_seed(0)
    model = Pixelwise(12, 10, bias)
    x = torch.randn(4, 12, 8, 8) * torch.logspace(0, -2, 12)[:, None, None] + 0.3
    site = linear(model, x)
    found = factorise(model, site, moments(model, site, [x]))
    rank = rank_for_error(found, error)
    with torch.no_grad():
        outputs = model.fc(x.permute(0, 2, 3, 1)).reshape(-1, 10).double()
    energy = float((outputs - outputs.mean(0) * bias).square().mean())
    lost = {}
    for r in {rank, max(1, rank - 1)}:
        student, _ = lowrank(model, site, r, factorisation=found)
        lost[r] = output_error(student, model, x) / energy
    assert lost[rank] <= error * (1 + 1e-3) + 1e-9
    if rank > 1:
        assert lost[rank - 1] > error * (1 - 1e-3)


@pytest.mark.parametrize("error", [-0.1, 1.0, 7])
def test_a_share_outside_its_range_is_refused(error, example):
    model = Pixelwise()
    with pytest.raises(OptionError, match=r"\[0, 1\)"):
        rank_for_error(factorise(model, linear(model, example)), error)


def test_recorded_change_rebuilds_the_structure(example):
    torch.manual_seed(0)
    model = Pixelwise().eval()
    student, change = lowrank(model, linear(model, example), 3)
    assert change == {"pass": "lowrank", "site": "fc", "layers": ["fc"], "rank": 3}
    rebuilt = apply_changes(Pixelwise().eval(), json.loads(json.dumps(changes_of(student))))
    rebuilt.load_state_dict(student.state_dict(), strict=True)
    assert torch.equal(rebuilt(example), student(example))


def test_exported_graph_computes_the_same(example):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    model = Pixelwise().eval()
    student, _ = lowrank(model, linear(model, example), 3)
    file = io.BytesIO()
    torch.onnx.export(student, (example,), dynamo=True, verbose=False).save(file)
    session = runtime.InferenceSession(file.getvalue())
    [exported] = session.run(None, {session.get_inputs()[0].name: example.numpy()})
    np.testing.assert_allclose(exported, student(example).detach(), atol=1e-5)
