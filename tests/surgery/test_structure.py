from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import weight_norm

from edgesr.errors import ModelError
from edgesr.surgery.passes.grouped import admissible_groups, grouped
from edgesr.surgery.passes.lowrank import lowrank
from edgesr.surgery.sites import find_sites
from edgesr.surgery.structure import apply_changes, changes_of, clone

KINDS = ["espcn", "edsr", "functional", "deconv", "pair", "resize", "depth"]


@pytest.mark.parametrize("operate", [grouped, lowrank])
@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_of_a_pass_loads_into_the_recorded_structure(
    kind, operate, make, example, output
):
    student, model = make(kind), make(kind)
    for site in find_sites(student, example):
        setting = admissible_groups(site)[0] if operate is grouped else 2
        student, _ = operate(student, site, setting)
    rebuilt = apply_changes(model, json.loads(json.dumps(changes_of(student))))
    rebuilt.load_state_dict(student.state_dict(), strict=True)
    assert changes_of(rebuilt) == changes_of(student)
    assert torch.equal(output(rebuilt, example), output(student, example))


@torch.no_grad()
def test_a_network_may_have_its_own_surgery(example):
    class Theirs(nn.Module):
        def __init__(self):
            super().__init__()
            self.surgery = nn.Conv2d(example.shape[1], 8, 3, padding=1)
            self.up = nn.ConvTranspose2d(8, 5, 4, stride=2, padding=1)

        def forward(self, x):
            return self.up(self.surgery(x))

    model = Theirs()
    [site] = find_sites(model, example)
    student, change = lowrank(model, site, 2)
    rebuilt = apply_changes(Theirs(), changes_of(student))
    rebuilt.load_state_dict(student.state_dict())
    assert changes_of(student) == [change]
    assert torch.equal(rebuilt(example), student(example))


@pytest.mark.parametrize("kind", KINDS)
def test_original_and_random_state_stay_untouched(kind, make, example, output):
    model = make(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected, generator = output(model, example), torch.get_rng_state()
    for site in find_sites(model, example):
        student, _ = lowrank(model, site, 2)
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.zero_()
    assert torch.equal(torch.get_rng_state(), generator)
    assert changes_of(model) == []
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(output(model, example), expected)


def test_shared_factor_is_stored_once_and_survives_copy_cast_and_training(make, example):
    model = make("pair")
    student, _ = lowrank(model, find_sites(model, example)[0], 4)
    names = list(student.state_dict())
    assert "main1.reduce.weight" in names
    assert not any(name.startswith("side1.reduce") for name in names)
    twin = copy.deepcopy(student).double()
    assert twin.side1.factor is twin.main1.reduce
    assert twin.main1.reduce is not student.main1.reduce
    assert twin(example.double()).dtype == torch.float64
    twin(example.double()).sum().backward()
    assert twin.main1.reduce.weight.grad is not None


def test_layer_registered_under_two_names_is_replaced_under_both(example):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.ConvTranspose2d(6, 6, 4, stride=2, padding=1)
            self.second = nn.Sequential(self.first)

        def forward(self, x):
            return self.second(self.first(x))

    model = Twice()
    [site] = find_sites(model, example)
    student, _ = lowrank(model, site, 2)
    assert student.first is student.second[0]
    assert sum(p.numel() for p in student.parameters()) < site.params


def test_layer_that_is_the_model(example):
    model = nn.ConvTranspose2d(6, 6, 4, stride=2, padding=1)
    [site] = find_sites(model, example)
    student, change = lowrank(model, site, 6)
    torch.testing.assert_close(student(example), model(example), atol=1e-5, rtol=0)
    assert changes_of(student) == [change]


def test_hook_based_weight_norm_can_be_copied_after_a_forward(example):
    model = nn.Sequential(weight_norm(nn.Conv2d(6, 24, 3, padding=1)), nn.PixelShuffle(2))
    expected = model(example)
    [site] = find_sites(model, example)
    student, _ = lowrank(model, site, 24)
    torch.testing.assert_close(student(example), expected, atol=1e-5, rtol=0)
    assert all(isinstance(p, nn.Parameter) for p in clone(model).parameters())


def test_training_mode_and_type_follow_the_replaced_layer(make, example):
    model = make("functional").double().train()
    model.up.eval()
    [site] = find_sites(model, example.double())
    student, _ = lowrank(model, site, 4)
    assert not student.up.reduce.training
    assert student.up.expand.weight.dtype == torch.float64


def test_exported_graph_computes_the_shared_factor_once(make, example):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = make("pair")
    student, _ = lowrank(model, find_sites(model, example)[0], 4)
    program = torch.onnx.export(student, (example,), dynamo=True, verbose=False)
    graph = program.model_proto.graph
    readers = [node for node in graph.node if "main1.reduce.weight" in node.input]
    assert [node.op_type for node in readers] == ["Conv"]
    session = runtime.InferenceSession(program.model_proto.SerializeToString())
    [exported] = session.run(None, {graph.input[0].name: example.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(exported, student(example).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pass": "quantum", "site": "up", "layers": ["up"]}, "unknown"),
        ({"pass": "lowrank", "site": "up", "layers": ["gone"], "rank": 4}, "does not fit"),
        ({"pass": "lowrank", "site": "up", "layers": ["up"]}, "does not fit"),
        ({"pass": "lowrank", "site": "up", "layers": ["up"], "rank": 0}, "whole number"),
        ({"pass": "grouped", "site": "up", "layers": ["up"], "groups": 5}, "common divisor"),
        ({"pass": "grouped", "site": "", "layers": [""], "groups": 2}, "only convolutions"),
    ],
)
def test_changes_that_do_not_fit_are_refused_in_one_line(change, message, make):
    with pytest.raises(ModelError, match=message) as caught:
        apply_changes(make("functional"), [change])
    assert "\n" not in str(caught.value)
