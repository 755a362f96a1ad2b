"""Files that people train with: the weights in them are found by whether they fit."""

from __future__ import annotations

import argparse
import collections
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strangers
import torch
from safetensors.torch import save_file
from third_party import THIRD_PARTY
from third_party_conv import BANDS, conv
from torch import Tensor, nn

from edgesr.cli.main import main
from edgesr.errors import ModelError
from edgesr.loading.checkpoint import read_checkpoint
from edgesr.loading.weights import load_custom, load_network, save_network

State = dict[str, Any]


def state_of(seed: int = 0) -> State:
    torch.manual_seed(seed)
    return strangers.masked().state_dict()


def under(prefix: str, state: State) -> State:
    return {f"{prefix}.{key}": value for key, value in state.items()}


def counted(state: State) -> State:
    """What a profiler of operations leaves in every module."""
    more = {f"{key.rpartition('.')[0]}.total_ops": torch.zeros(1) for key in state if "." in key}
    return {**state, **more, "total_ops": torch.zeros(1), "total_params": torch.zeros(1)}


def discriminator() -> State:
    return nn.Sequential(conv(BANDS, 4), conv(4, 1)).state_dict()


def loaded(content: Any, path: Path, key: str | None = None) -> State:
    torch.save(content, path / "w.pt")
    return load_custom("strangers:masked", path / "w.pt", key).state_dict()


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


WRAPPED = {
    "net_g": lambda s: {"net_g": s, "net_d": discriminator(), "epoch": 3},
    "gen_state_dict": lambda s: {"gen_state_dict": s, "disc_state_dict": discriminator()},
    "model_state": lambda s: {"model_state": s, "optimizer_state": {"state": {0: {}}}},
    "any name": lambda s: {"best of all": {"weights": s}},
    "Lightning": lambda s: {
        "state_dict": {**under("model", s), "loss.kernel": torch.ones(3)},
        "hyper_parameters": {"lr": 0.1, "options": argparse.Namespace(bands=3, path=Path("a"))},
        "callbacks": {"Checkpoint": {"best": torch.tensor(0.1), "score": np.float32(0.5)}},
    },
    "a Lightning module's own name for it": lambda s: {
        "state_dict": under("sr_net", s) | under("critic", discriminator())
    },
    "numbers of NumPy": lambda s: {"net": s, "psnr": np.float64(30), "history": np.arange(3)},
    "settings": lambda s: {"model": s, "log": collections.defaultdict(list, {"loss": [1.0]})},
    "counters": counted,
    "counters, in parallel": lambda s: under("module", counted(s)),
    "an average's counter": lambda s: {**under("module", s), "n_averaged": torch.tensor(3)},
    "in parallel in a trainer": lambda s: {"state_dict": under("model.module", s)},
    "parts that ran in parallel": lambda s: {
        k.replace("head.", "head.module.").replace("up.", "up._orig_mod."): v for k, v in s.items()
    },
    "an average beside it": lambda s: {"net": state_of(1), "net_ema": s},
    "both of one library": lambda s: {
        **under("online_model", state_of(1)), **under("ema_model", s), "step": torch.tensor(4)
    },
    "saved twice": lambda s: {"net_a": s, "net_b": dict(s)},
    "without counters": lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
}  # fmt: skip


@pytest.mark.parametrize("kind", WRAPPED)
def test_the_weights_are_found_by_whether_they_fit(kind, tmp_path):
    state = state_of()
    assert same(loaded(WRAPPED[kind](state), tmp_path), state)


def test_a_part_of_the_network_that_is_parallel_in_it_too(tmp_path, monkeypatch):
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.DataParallel(conv(BANDS, 12))

    monkeypatch.setattr(strangers, "made_here", Inside, raising=False)
    state = Inside().state_dict()
    plain = {key.replace("module.", ""): value for key, value in state.items()}
    for number, one in enumerate((state, plain)):
        torch.save(one, tmp_path / f"{number}.pt")
        assert same(
            load_custom("strangers:made_here", tmp_path / f"{number}.pt").state_dict(), state
        )


def test_what_was_taken_and_left_is_said(tmp_path, caplog):
    caplog.set_level("INFO")
    state = state_of()
    loaded(
        {"state_dict": under("model", counted(state)) | {"loss.kernel": torch.ones(3)}}, tmp_path
    )
    said = caplog.text
    assert "w.pt: took state_dict.model; left out" in said
    assert "that the network makes itself (norm.total_ops," in said
    assert "1 of something else (loss.kernel)" in said
    caplog.clear()
    loaded(state, tmp_path)
    assert caplog.text == ""


def test_buffers_of_the_training_image_s_size_stay_as_the_network_makes_them(tmp_path, caplog):
    caplog.set_level("INFO")
    larger = strangers.Masked(32).state_dict()
    larger["window"] = torch.ones(2)  # which was None when it was built
    found = loaded(larger, tmp_path)
    own = strangers.masked().state_dict()
    for key, value in found.items():
        kept = key in ("attn_mask", "places")
        assert torch.equal(value, (own if kept else larger)[key]), key
    assert "left out 3 that the network makes itself (window, attn_mask, ...)" in caplog.text
    without = {key: value for key, value in larger.items() if key not in ("attn_mask", "window")}
    assert torch.equal(loaded(without, tmp_path)["attn_mask"], own["attn_mask"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"norm.running_mean": torch.zeros(9)}, "1 of another shape (norm.running_mean is [9]"),
        ({"norm.running_mean": None}, "1 missing (norm.running_mean)"),
        ({"gains": torch.zeros(9)}, "1 unexpected (gains)"),
        ({"head.weight": torch.zeros(12, 5, 3, 3)}, "is [12, 5, 3, 3] instead of [12, 6, 3, 3]"),
        ({"up.bias": None}, "1 missing (up.bias)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"netG": s, "netD": discriminator()}])
def test_what_the_network_cannot_make_must_be_there(change, reason, wrap, tmp_path):
    state = {key: value for key, value in {**state_of(), **change}.items() if value is not None}
    with pytest.raises(ModelError) as refusal:
        loaded(wrap(state), tmp_path)
    message = str(refusal.value)
    assert reason in message
    assert "\n" not in message
    assert ("in netG, of netG, netD" in message) == ("netG" in wrap(state))


def test_several_that_fit_need_a_word(tmp_path):
    one, other = state_of(1), state_of(2)
    both = {"net_a": one, "net_b": {"weights": under("module", other)}}
    with pytest.raises(ModelError, match=r"fit the network: net_a, net_b.weights; choose one by"):
        loaded(both, tmp_path)
    assert same(loaded(both, tmp_path, "net_a"), one)
    assert same(loaded(both, tmp_path, "net_b"), other)
    assert same(loaded({"params": one, "params_ema": other}, tmp_path, "params"), one)
    with pytest.raises(
        ModelError, match=r"nothing for the network under net_c; what .* net_a, net_b"
    ):
        loaded(both, tmp_path, "net_c")


@pytest.mark.parametrize("name", THIRD_PARTY)
def test_every_network_finds_itself_in_a_trainer_s_file(name, tmp_path):
    state = THIRD_PARTY[name]().state_dict()
    other = {"loss.weight": torch.ones(3, 3)}
    torch.save(
        {"state_dict": under("model", state) | other, "epoch": np.int64(1)}, tmp_path / "w.pt"
    )
    found = load_custom(f"third_party:{name}", tmp_path / "w.pt").state_dict()
    for key, value in state.items():
        assert not isinstance(value, Tensor) or torch.equal(found[key], value)


def test_a_file_without_a_header_is_searched_as_well(tmp_path):
    state = state_of()
    save_file(under("model", state) | {"loss.kernel": torch.ones(2)}, tmp_path / "w.safetensors")
    assert same(load_custom("strangers:masked", tmp_path / "w.safetensors").state_dict(), state)


class Evil:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made_by = function, arguments

    def __reduce__(self) -> Any:
        return self.made_by


@pytest.mark.parametrize("function", [os.mkdir, eval, print, getattr, Path.mkdir])
def test_no_object_of_a_file_runs(function, tmp_path, capsys):
    target = tmp_path / "ran"
    argument = f"__import__('os').mkdir({str(target)!r})" if function is eval else str(target)
    if function is Path.mkdir:
        argument = target  # type: ignore[assignment]
    try:
        loaded({"state_dict": state_of(), "more": Evil(function, argument)}, tmp_path)
    except ModelError as refusal:
        assert "could run code" in str(refusal)  # noqa: PT017
    assert not target.exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["head.weight", "up.bias", "norm.running_var"])
def test_one_number_that_is_not_finite_is_enough(key, value, tmp_path):
    state = state_of()
    state[key].view(-1)[-1] = value
    if key == "norm.running_var" and value < 0:
        return  # a mask may hold that; what the network answers is looked at as well
    with pytest.raises(ModelError, match=rf"w.pt holds values .* in {key}; use other weights"):
        loaded(state, tmp_path)


def test_a_mask_may_be_infinite(tmp_path):
    state = state_of()
    state["attn_mask"][0, 0] = -torch.inf
    loaded(state, tmp_path)
    model = load_custom("strangers:masked", tmp_path / "w.pt")
    for half in (False, True):
        save_network(model, tmp_path / "w.safetensors", half=half)
        found = load_network(tmp_path / "w.safetensors", "strangers:masked").model
        assert torch.equal(found.attn_mask, state["attn_mask"])
    model.attn_mask[0, 1] = 1e6
    with pytest.raises(ModelError, match="exceeds half precision"):
        save_network(model, tmp_path / "w.safetensors", half=True)


def test_from_the_command_line(workplace, capsys):
    torch.save({"net_a": state_of(1), "net_b": state_of(2)}, "w.pt")
    options = ["--data", "cube.npy", "--model", "strangers:masked", "--threads", "1"]
    assert main(["analyze", *options, "--weights", "w.pt"]) == 2
    assert "choose one by --checkpoint-key" in capsys.readouterr().err
    assert main(["analyze", *options, "--weights", "w.pt", "--checkpoint-key", "net_b"]) == 0
    assert main(["analyze", *options, "--checkpoint-key", "net_b"]) == 2
    assert "pass that as well" in capsys.readouterr().err


def test_a_file_whose_pickle_ends_anywhere_is_refused(tmp_path):
    whole, path = tmp_path / "whole.pt", tmp_path / "damaged.pt"
    torch.save({"state_dict": conv(2, 3).state_dict()}, whole)
    with zipfile.ZipFile(whole) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = (name for name in entries if name.endswith("data.pkl"))
    for length in range(len(entries[pickled])):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content[:length] if name == pickled else content)
        with pytest.raises(ModelError):
            read_checkpoint(path)
