from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tensorly
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorly.decomposition import partial_tucker
from tensorly.tenalg import multi_mode_dot
from torch import nn

from edgesr.errors import ModelError, OptionError
from edgesr.evaluation.cost import count
from edgesr.loading.weights import load_network, save_network
from edgesr.models import create_model
from edgesr.surgery.backbone import find_layers
from edgesr.surgery.calibrate import all_moments, moments, reconstruction_error
from edgesr.surgery.layers import dense_weight
from edgesr.surgery.least_squares import fit
from edgesr.surgery.passes.lowrank import lowrank, lowrank_cost, rank_for_error
from edgesr.surgery.passes.tucker import (
    TuckerConv,
    factorise_tucker,
    tucker,
    tucker_cost,
    tucker_for_error,
)
from edgesr.surgery.shrink import change_for, decompose, shrink, shrink_all
from edgesr.surgery.structure import apply_changes, changes_of


def network(inputs=8, outputs=12, **options):
    """A convolution of the backbone, followed by an upsampler."""
    torch.manual_seed(options.pop("seed", 0))
    kernel = options.pop("kernel", 3)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, **options),
        nn.ReLU(),
        nn.Conv2d(outputs, 12, 1),
        nn.PixelShuffle(2),
    ).eval()


def features(channels=8, seed=0, batch=2, size=9):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, size, size + 1, generator=generator)
    mixing = torch.rand(channels, channels, generator=generator)
    return torch.einsum("dc,nchw->ndhw", mixing, x) + 0.5


def first(model, x):
    return find_layers(model, x, least_share=0)[0]


def squared_error(student, model, x):
    with torch.no_grad():
        return float((student[0](x) - model[0](x)).double().square().mean())


PADDINGS = ["zeros", "reflect", "replicate", "circular"]


@given(
    groups=st.sampled_from([1, 2, 4]),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.sampled_from([0, 1, 2, "same"]),
    mode=st.sampled_from(PADDINGS),
    kernel=st.sampled_from([2, 3, (1, 3), 5]),
    bias=st.booleans(),
    aware=st.booleans(),
    inputs=st.sampled_from([8, 12]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_full_ranks_are_the_original(
    groups, stride, dilation, padding, mode, kernel, bias, aware, inputs, seed
):
    model = network(
        inputs,
        stride=1 if padding == "same" else stride,
        groups=groups,
        dilation=dilation,
        padding=padding,
        padding_mode=mode,
        kernel=kernel,
        bias=bias,
        seed=seed,
    )
    x = features(inputs, seed, size=11)
    site = first(model, x)
    student, _ = tucker(model, site, (inputs, 12), moments(model, site, [x]) if aware else None)
    assert isinstance(student[0], TuckerConv)
    torch.testing.assert_close(student(x), model(x), atol=2e-4, rtol=1e-4)


@given(inner=st.integers(1, 8), outer=st.integers(1, 12), mode=st.sampled_from(PADDINGS))
@settings(deadline=None, max_examples=20)
def test_weight_space_form_is_the_tensor_of_tensorly(inner, outer, mode):
    model, x = network(padding=1, padding_mode=mode), features()
    student, _ = tucker(model, first(model, x), (inner, outer))
    weight = model[0].weight.detach().double().numpy()
    (core, factors), _ = partial_tucker(weight, rank=[outer, inner], modes=[0, 1], init="svd")
    expected = torch.from_numpy(multi_mode_dot(core, factors, modes=[0, 1]))
    torch.testing.assert_close(dense_weight(student[0]), expected, atol=1e-6, rtol=0)
    dense = nn.functional.conv2d(  # padded by hand: what the three layers do together
        nn.functional.pad(x, [1] * 4, mode="constant" if mode == "zeros" else mode),
        expected.float(),
        model[0].bias,
    )
    torch.testing.assert_close(student[0](x), dense, atol=1e-4, rtol=1e-4)


@given(
    inner=st.integers(1, 8),
    outer=st.integers(1, 12),
    kind=st.sampled_from(["random", "constant", "zero", "dead", "tiny"]),
    groups=st.sampled_from([1, 4]),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=40)
def test_data_aware_is_never_worse_than_the_weights_alone(inner, outer, kind, groups, bias, seed):
    x = features(8, seed)
    if kind == "constant":
        x = torch.ones_like(x) * torch.rand(8, 1, 1)
    elif kind == "zero":
        x = torch.zeros_like(x)
    elif kind == "dead":
        x[:, ::3] = 0
    elif kind == "tiny":
        x = x * 1e-6
    model = network(padding=1, groups=groups, bias=bias, seed=seed)
    site = first(model, x)
    aware, _ = tucker(model, site, (inner, outer), moments(model, site, [x]))
    plain, _ = tucker(model, site, (inner, outer))
    scale = float(model[0](x).detach().square().mean())
    best, baseline = squared_error(aware, model, x), squared_error(plain, model, x)
    assert best <= baseline * (1 + 1e-5) + 1e-11 * scale
    assert all(parameter.isfinite().all() for parameter in aware.parameters())


def test_the_core_is_the_least_squares_fit_and_the_last_factor_the_best_behind_it():
    model, x = network(padding=1), features()
    site = first(model, x)
    seen = moments(model, site, [x])
    student, _ = tucker(model, site, (3, 4), seen)
    second = seen.regularised(centred=True)
    reduce = dense_weight(student[0].reduce).flatten(1)
    design = torch.kron(torch.linalg.qr(reduce.T)[0].T.contiguous(), torch.eye(9).double())
    weight = dense_weight(model[0]).flatten(1)
    fitted = fit(weight, design, second) @ design
    left = torch.linalg.svd(fitted @ torch.linalg.cholesky(second))[0][:, :4]
    expected = left @ left.T @ fitted
    found = dense_weight(student[0]).flatten(1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_features_of_few_directions_need_no_more():
    model = network(padding=1)
    x = torch.einsum("cr,nrhw->nchw", torch.randn(8, 3), torch.randn(2, 3, 9, 9))
    site = first(model, x)
    student, _ = tucker(model, site, (3, 12), moments(model, site, [x]))
    torch.testing.assert_close(student(x), model(x), atol=1e-4, rtol=0)


@pytest.mark.parametrize("bias", [False, True])
def test_promised_errors_are_those_of_the_data(bias):
    model, x = network(padding=1, bias=bias), features()
    site = first(model, x)
    seen = moments(model, site, [x])
    found = factorise_tucker(model, site, seen)
    with torch.no_grad():
        outputs = model[0](x).double().movedim(1, -1).reshape(-1, 12)
    energy = float((outputs - outputs.mean(0) * bias).square().mean())
    for ranks in [(1, 1), (3, 5), (5, 3), (8, 7), (4, 12)]:
        student, _ = tucker(model, site, ranks, factorisation=found)
        measured = squared_error(student, model, x) / energy
        assert reconstruction_error(model, student, site, seen) == pytest.approx(measured, rel=1e-3)
        assert measured <= float(found.lost[ranks[0] - 1, ranks[1] - 1]) * (1 + 1e-3)


@pytest.mark.parametrize("error", [0.001, 0.03, 0.1, 0.4])
def test_ranks_for_an_error_are_the_cheapest_that_keep_it(error):
    model, x = network(16, 16, padding=1), features(16)
    site = first(model, x)
    seen = moments(model, site, [x])
    found = factorise_tucker(model, site, seen)
    ranks = tucker_for_error(site, found, error)
    fitting = [
        (tucker_cost(site, (i, o))[1], (i, o))
        for i in range(1, 17)
        for o in range(1, 17)
        if found.lost[i - 1, o - 1] <= error and tucker_cost(site, (i, o))[1] < site.macs
    ]
    if not fitting:
        assert ranks is None
        return
    assert tucker_cost(site, ranks)[1] == min(fitting)[0]
    student, _ = tucker(model, site, ranks, factorisation=found)
    assert reconstruction_error(model, student, site, seen) <= error * (1 + 1e-6)


@pytest.mark.parametrize("options", [{"padding": 1}, {"padding": 1, "stride": 2}, {"groups": 4}])
def test_predicted_cost_is_the_real_cost(options):
    options = {"padding": 1, **options}
    model, x = network(**options), features(size=9)[:, :, :8, :8]
    site = first(model, x)
    student, _ = tucker(model, site, (3, 5))
    layers = [layer for layer in count(student, tuple(x.shape)).layers if layer.name[:2] == "0."]
    assert tucker_cost(site, (3, 5)) == (sum(a.params for a in layers), sum(a.macs for a in layers))


def test_three_axes(example):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv3d(4, 6, (3, 3, 1), padding=(1, 1, 0)), nn.Conv3d(6, 4, 3)).eval()
    x = torch.randn(1, 4, 5, 6, 7)
    site = first(model, x)
    student, _ = tucker(model, site, (4, 6), moments(model, site, [x]))
    torch.testing.assert_close(student(x), model(x), atol=1e-4, rtol=1e-4)
    smaller, _ = tucker(model, site, (2, 3))
    again, _ = lowrank(smaller, first(smaller, x), 3)  # a Tucker form can be operated on again
    torch.testing.assert_close(again(x), smaller(x), atol=1e-4, rtol=1e-4)


def test_recorded_change_rebuilds_the_network_from_its_file(tmp_path: Path):
    torch.manual_seed(0)
    model = create_model("lkca_net", bands=6, scale=2, blocks=2, channels=16).eval()
    x = torch.rand(1, 6, 8, 8)
    site = first(model, x)
    student, change = tucker(model, site, (3, 7))
    assert change == json.loads(json.dumps(change))
    assert (change["pass"], change["rank_in"], change["rank_out"]) == ("tucker", 3, 7)
    save_network(student, tmp_path / "net.safetensors")
    loaded = load_network(tmp_path / "net.safetensors").model
    assert isinstance(loaded.head, TuckerConv)
    assert torch.equal(loaded(x), student(x))


def test_exported_graph_computes_the_same():
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, x = network(padding=1), features()
    student, _ = tucker(model, first(model, x), (3, 5))
    file = io.BytesIO()
    torch.onnx.export(student, (x,), dynamo=True, verbose=False).save(file)
    session = runtime.InferenceSession(file.getvalue())
    [exported] = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(exported, student(x).detach(), atol=1e-5)


@pytest.mark.parametrize("ranks", [(0, 1), (9, 1), (1, 0), (1, 13)])
def test_ranks_outside_the_layer_are_refused(ranks):
    model, x = network(padding=1), features()
    with pytest.raises(OptionError, match=r"1 \.\. 8 and 1 \.\. 12"):
        tucker(model, first(model, x), ranks)


def test_layers_without_such_a_form_are_refused():
    model, x = network(kernel=1), features()
    with pytest.raises(OptionError, match="low-rank"):
        tucker(model, first(model, x), (1, 1))
    linear = nn.Sequential(nn.Linear(4, 4))
    change = {"pass": "tucker", "site": "0", "layers": ["0"], "rank_in": 1, "rank_out": 1}
    with pytest.raises(ModelError, match="Tucker-2"):
        apply_changes(linear, [change])


def test_the_backend_of_tensorly_stays(monkeypatch):
    before = tensorly.get_backend()
    model, x = network(padding=1), features()
    tucker(model, first(model, x), (2, 2))
    assert tensorly.get_backend() == before


@pytest.mark.parametrize("error", [0.001, 0.02, 0.1, 0.3])
def test_shrinking_keeps_the_error_in_every_layer_and_takes_the_cheaper_form(error):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 24, 1),
        nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=1, groups=3),
        nn.ReLU(),
        nn.Conv2d(24, 12, 3, padding=1),
        nn.PixelShuffle(2),
    ).eval()
    x = features()
    sites = find_layers(model, x)
    seen = all_moments(model, sites, [x])
    found = {site.name: decompose(model, site, seen[site.name]) for site in sites}
    student, changes = shrink_all(model, sites, error, found)
    assert count(student, tuple(x.shape)).macs <= count(model, tuple(x.shape)).macs
    changed = {change["site"]: change for change in changes}
    assert changes_of(student) == changes
    for site in sites:
        assert changed.get(site.name) == change_for(site, error, found[site.name])
        lost = reconstruction_error(model, student, site, seen[site.name])
        assert lost <= error * (1 + 1e-4)
        single = shrink(model, site, error, seen[site.name])
        if site.name not in changed:
            assert single is None
            assert lost == 0
            continue
        layer = single[0].get_submodule(site.name).state_dict()
        together = student.get_submodule(site.name).state_dict()
        assert all(torch.equal(together[name], value) for name, value in layer.items())
        change, decomposition = changed[site.name], found[site.name]
        macs = [lowrank_cost(site, rank_for_error(decomposition["lowrank"], error))[1]]
        if site.kernel == (3, 3):
            ranks = tucker_for_error(site, decomposition["tucker"], error)
            macs += [tucker_cost(site, ranks)[1]] if ranks else []
        if change["pass"] == "tucker":
            taken = tucker_cost(site, (change["rank_in"], change["rank_out"]))
        else:
            taken = lowrank_cost(site, change["rank"])
        assert taken[1] == min(macs) < site.macs
        assert taken[0] < site.params


def test_wide_layers_get_whole_vectors_of_channels():
    model, x = network(64, 64, padding=1), features(64)
    site = first(model, x)
    found = decompose(model, site, moments(model, site, [x]))
    for error in (0.05, 0.2, 0.5):
        change = change_for(site, error, found)
        ranks = [value for key, value in change.items() if key.startswith("rank")]
        assert all(rank % 8 == 0 for rank in ranks)
