"""Weights of third-party networks: from the files they come in, to ours and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import third_party
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from third_party import BANDS, SCALE, THIRD_PARTY, as_author
from torch import nn

from edgesr.errors import ModelError
from edgesr.loading.fitting import fit
from edgesr.loading.signature import call_of
from edgesr.loading.weights import load_custom, load_network, save_network


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def build(monkeypatch: pytest.MonkeyPatch, factory: Callable[[], nn.Module]) -> str:
    """The name by which a factory of this file can be called."""
    monkeypatch.setattr(third_party, "made_here", factory, raising=False)
    return "third_party:made_here"


@pytest.mark.parametrize("name", THIRD_PARTY)
@torch.no_grad()
def test_from_the_author_s_checkpoint_through_our_file(name, tmp_path):
    theirs = THIRD_PARTY[name]().eval()
    torch.save({"epoch": 7, "state_dict": theirs.state_dict()}, tmp_path / "theirs.pt")
    model = load_custom(f"third_party:{name}", tmp_path / "theirs.pt")
    fit(model, image(1, BANDS, 16, 16), SCALE[name])
    save_network(model, tmp_path / "ours.safetensors")
    loaded = load_network(tmp_path / "ours.safetensors", f"third_party:{name}").model
    assert call_of(loaded) == call_of(model)
    x = image(2, BANDS, 13, 11)
    expected = as_author(name, theirs, x)
    assert torch.equal(model(x), expected)
    assert torch.equal(loaded(x), expected)
    for key, value in theirs.state_dict().items():
        if isinstance(value, torch.Tensor) and key != "calls":  # which counts the runs
            assert torch.equal(loaded.state_dict()[key], value)


def test_state_beside_tensors_travels_in_the_header(tmp_path):
    model = load_custom("third_party:stateful")
    model.gains = [0.5, 2.0]
    save_network(model, tmp_path / "w.safetensors")
    assert load_network(tmp_path / "w.safetensors", "third_party:stateful").model.gains == [
        0.5,
        2.0,
    ]
    save_file(load_file(tmp_path / "w.safetensors"), tmp_path / "bare.safetensors")
    assert load_custom("third_party:stateful", tmp_path / "bare.safetensors").gains == [1.0, 1.0]


def test_state_that_no_file_can_hold_is_refused_at_once(monkeypatch):
    class Odd(nn.Conv2d):
        def get_extra_state(self):
            return {"when": object()}

    with pytest.raises(ModelError, match=r"_extra_state is a dict that cannot be stored"):
        load_custom(build(monkeypatch, lambda: Odd(1, 1, 1)))


def test_complex_weights_are_stored_as_pairs_of_numbers(tmp_path):
    model = load_custom("third_party:fourier")
    save_network(model, tmp_path / "w.safetensors", half=True)
    stored = load_file(tmp_path / "w.safetensors")
    assert stored["spectral"].shape == (8, 8, 2)
    assert stored["spectral"].dtype == torch.float16
    loaded = load_network(tmp_path / "w.safetensors", "third_party:fourier").model
    torch.testing.assert_close(loaded.spectral, model.spectral, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_another_precision_become_single(dtype, monkeypatch, tmp_path):
    factory = build(monkeypatch, lambda: third_party.rcan().to(dtype))
    weights = third_party.rcan().to(dtype).state_dict()
    torch.save(weights, tmp_path / "w.pt")
    model = load_custom(factory, tmp_path / "w.pt")
    assert model.fuse is model.shared
    for key, value in model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, weights[key].float())
    fit(model, image(1, BANDS, 16, 16), 2)


@pytest.mark.parametrize(
    ("file", "network"), [("wdsr", "wdsr_parametrized"), ("wdsr_parametrized", "wdsr")]
)
@torch.no_grad()
def test_weight_normalisation_of_one_form_loads_into_the_other(file, network, tmp_path):
    theirs = THIRD_PARTY[file]().eval()
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    model = load_custom(f"third_party:{network}", tmp_path / "w.pt")
    x = image(1, BANDS, 9, 8)
    torch.testing.assert_close(model(x), theirs(x))


def prefixed(prefix: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {f"{prefix}.{key}": value for key, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"params": state},
        lambda state: {"netG": state, "netD": {"weight": torch.ones(1)}, "iteration": 4},
        lambda state: {"generator": state, "optimizer": {"state": {0: {}}, "param_groups": []}},
        lambda state: {"model": {"state_dict": state}, "args": {"lr": 0.1}},
        lambda state: {"ema": {"decay": 0.99}, "net": state},
        lambda state: {"params_ema": {}, "network": state},
        lambda state: {"weights": state},
        prefixed("module"),
        prefixed("_orig_mod.module"),
        prefixed("generator"),
        lambda state: {"state_dict": prefixed("net")(state)},
    ],
)
def test_checkpoints_as_trainers_leave_them(wrap, tmp_path):
    state = THIRD_PARTY["fsrcnn"]().state_dict()
    torch.save(wrap(state), tmp_path / "w.pt")
    model = load_custom("third_party:fsrcnn", tmp_path / "w.pt")
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_network_whose_own_keys_begin_like_a_wrapper_keeps_them(monkeypatch, tmp_path):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.Conv2d(2, 2, 1)

    factory = build(monkeypatch, Wrapped)
    for prefix in ("", "module."):
        state = {prefix + key: torch.ones_like(v) for key, v in Wrapped().state_dict().items()}
        torch.save(state, tmp_path / "w.pt")
        assert load_custom(factory, tmp_path / "w.pt").model.bias.tolist() == [1, 1]


def test_a_whole_network_in_a_file_is_refused(tmp_path):
    torch.save(THIRD_PARTY["fsrcnn"](), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"save torch.save\(model.state_dict\(\), FILE\) instead"):
        load_custom("third_party:fsrcnn", tmp_path / "w.pt")


def test_a_third_party_network_with_the_attributes_of_our_networks(monkeypatch, tmp_path):
    """Its name, config, call, core and split are its own."""

    class VDSR(nn.Module):
        name, bands = "vdsr", "many"

        def __init__(self):
            super().__init__()
            self.config = {"bands": 1, "scale": 9}
            self.core = nn.Conv2d(BANDS, 4 * BANDS, 3, padding=1)
            self.split, self.scale = 2, 0.125

        def call(self, x):
            return {"image": nn.functional.pixel_shuffle(self.core(x), 2)}

        def forward(self, x):
            return self.call(x)

    factory = build(monkeypatch, VDSR)
    model = load_custom(factory)
    fit(model, image(1, BANDS, 16, 16), 2)
    save_network(model, tmp_path / "w.safetensors")
    loaded = load_network(tmp_path / "w.safetensors", factory)
    assert loaded.metadata["model"] == factory
    assert (loaded.model.scale, loaded.model.config) == (0.125, {"bands": 1, "scale": 9})
    x = image(1, BANDS, 5, 6)
    with torch.no_grad():
        assert torch.equal(loaded.model(x), model.call(x)["image"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"call": {"scale": 2}}, "'call' is damaged"),
        ({"call": []}, "'call' is damaged"),
        ({"complex": ["conv_input.weight", "absent"]}, "'complex' is damaged"),
    ],
)
def test_damaged_headers_are_refused(change, reason, tmp_path):
    path = tmp_path / "w.safetensors"
    model = load_custom("third_party:lapsrn")
    fit(model, image(1, BANDS, 16, 16), 4)
    save_network(model, path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["edgesr"])
    assert header["call"]["output"] == 1
    save_file(load_file(path), path, metadata={"edgesr": json.dumps({**header, **change})})
    with pytest.raises(ModelError, match=reason) as refusal:
        load_network(Path(path), "third_party:lapsrn")
    assert "\n" not in str(refusal.value)
