from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from edgesr.errors import ModelError
from edgesr.loading.weights import load_custom, load_network, save_network
from edgesr.models import create_model

NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("lkca_net", {"bands": 5, "scale": 2, "blocks": 1, "channels": 16}),
    ("lkca_net", {"bands": 5, "scale": 2, "blocks": 1, "channels": 16, "paper_exact": True}),
    ("dacn", {"scale": 2}),
    ("dacn", {"scale": 2, "bands": 40}),
    ("vdsr", {"bands": 5, "scale": 2}),
    ("3dfcnn", {"bands": 5, "scale": 2}),
]


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return create_model("lkca_net", bands=5, scale=2, blocks=1, channels=16, drop_path=0.1).eval()


@pytest.fixture
def saved(network: nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "network.safetensors"
    save_network(network, path)
    return path


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a network in it, as the current folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "networks_of_an_author.py").write_text(
        "from torch import nn\n"
        "def tiny():\n"
        "    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))\n"
        "def broken():\n"
        "    raise ValueError('no\\nluck')\n"
        "def number():\n"
        "    return 3\n"
    )
    monkeypatch.chdir(folder)
    return folder


def one_line(error: pytest.ExceptionInfo[ModelError]) -> None:
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "config"), NETWORKS)
@torch.no_grad()
def test_a_file_rebuilds_its_network(name: str, config: dict[str, Any], tmp_path: Path) -> None:
    model = create_model(name, **config).eval()
    save_network(
        model, tmp_path / "w.safetensors", data={"wavelengths": [450.5]}, training={"epochs": 3}
    )
    loaded = load_network(tmp_path / "w.safetensors")
    assert not loaded.model.training
    assert loaded.model.config == model.config
    assert loaded.metadata["data"] == {"wavelengths": [450.5]}
    assert loaded.metadata["training"] == {"epochs": 3}
    lr = torch.rand(1, model.bands, 4, 4)
    assert torch.equal(loaded.model(lr), model(lr))


def test_header_is_plain_safetensors(saved: Path, network: nn.Module) -> None:
    with safe_open(saved, framework="pt") as file:
        header = json.loads(file.metadata()["edgesr"])
    assert header["format"] == 1
    assert (header["model"], header["config"]) == ("lkca_net", network.config)
    assert load_file(saved).keys() == network.state_dict().keys()


def test_half_precision_is_half_the_size_and_loads_as_float32(
    network: nn.Module, saved: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half.safetensors"
    save_network(network, half, half=True)
    tensors, overhead = load_file(half), 4000
    assert all(value.dtype == torch.float16 for value in tensors.values())
    assert half.stat().st_size < saved.stat().st_size / 2 + overhead
    for key, value in load_network(half).model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, network.state_dict()[key].half().float())


def test_surgery_is_repeated_on_loading(network: nn.Module, tmp_path: Path) -> None:
    from edgesr.surgery.structure import apply_changes, changes_of

    change = {"pass": "lowrank", "site": "upsampler", "layers": ["upsampler"], "rank": 4}
    student = apply_changes(network, [change])
    save_network(student, tmp_path / "student.safetensors")
    loaded = load_network(tmp_path / "student.safetensors")
    assert changes_of(loaded.model) == [change]
    lr = torch.rand(1, 5, 4, 4)
    with torch.no_grad():
        assert torch.equal(loaded.model(lr), student(lr))


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_others_may_read_the_file_as_any_other(network: nn.Module, tmp_path: Path, mask) -> None:
    before = os.umask(mask)
    try:
        save_network(network, tmp_path / "network.safetensors")
        (tmp_path / "plain").touch()
    finally:
        os.umask(before)
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_replaces_atomically(network: nn.Module, saved: Path) -> None:
    before = saved.read_bytes()
    with torch.no_grad():
        network.head.weight[0] = float("nan")
    with pytest.raises(ModelError, match=r"weight head.weight .* not finite"):
        save_network(network, saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_too_large_for_half(network: nn.Module, tmp_path: Path) -> None:
    with torch.no_grad():
        network.head.weight[0] = 1e5
    with pytest.raises(ModelError, match="exceeds half precision"):
        save_network(network, tmp_path / "w.safetensors", half=True)
    assert not list(tmp_path.iterdir())


def test_unwritable_folder(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot write weights") as refusal:
        save_network(network, tmp_path / "absent" / "w.safetensors")
    one_line(refusal)


def test_a_foreign_network_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="create_model or load_custom"):
        save_network(nn.Conv2d(1, 1, 1), tmp_path / "w.safetensors")


class Payload:
    """What a malicious pickle does: it runs a function while it is being loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("start", [b"\x80\x0b", b"PK"])
def test_a_header_whose_length_looks_like_another_format(
    network: nn.Module, tmp_path: Path, start: bytes
) -> None:
    """A file begins with the length of its header: 0x0b80 looks like a pickle, 0x4b50 like a zip.

    The length is a multiple of 8, so one file in 32 begins with 0x80.
    """
    path = tmp_path / "network.safetensors"
    save_network(network, path, training={"note": ""})
    missing = int.from_bytes(start, "little") - int.from_bytes(path.read_bytes()[:8], "little")
    note = "x" * missing
    save_network(network, path, training={"note": note})
    assert path.read_bytes().startswith(start)
    assert load_network(path).metadata["training"] == {"note": note}


@pytest.mark.parametrize("legacy", [False, True])
def test_pickles_with_code_never_run(own_module: Path, tmp_path: Path, legacy: bool) -> None:
    trace, path = tmp_path / "ran", tmp_path / "weights.pt"
    torch.save({"0.weight": Payload(trace)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ModelError, match=r"PyTorch .pickle. file, not safetensors") as refusal:
        load_network(path)
    one_line(refusal)
    with pytest.raises(ModelError, match="could run code") as refusal:
        load_custom("networks_of_an_author:tiny", path)
    one_line(refusal)
    assert not trace.exists()


def damaged(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The same file with its header changed."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["edgesr"])
    change(header)
    save_file(load_file(path), path, metadata={"edgesr": json.dumps(header)})
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(model="srcnn"), "network 'srcnn' that this version does not know"),
        (lambda h: h.update(format=9), "format 9, this version reads up to 1"),
        (lambda h: h.pop("format"), "without a format number"),
        (lambda h: h.update(config=[]), "'config' is damaged"),
        (lambda h: h.update(surgery=["cut"]), "'surgery' is damaged"),
        (lambda h: h["config"].update(groups=3), "no network fits: .*groups=3"),
        (lambda h: h["config"].update(depth=3), "no network fits: .*no option depth"),
        (lambda h: h["config"].update(bands=6), "head.weight is .* instead of .*upsampler"),
        (lambda h: h["config"].update(blocks=2), r"17 missing \(body.1.*, \.\.\.\)"),
        (lambda h: h.update(model="networks_of_an_author:tiny"), "confirm with --model"),
    ],
)
def test_headers_that_do_not_fit(
    saved: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(ModelError, match=message) as refusal:
        load_network(damaged(saved, change))
    one_line(refusal)


def test_unexpected_key(saved: Path) -> None:
    with safe_open(saved, framework="pt") as file:
        metadata = file.metadata()
    save_file({**load_file(saved), "tail.weight": torch.ones(1)}, saved, metadata=metadata)
    with pytest.raises(ModelError, match=r"1 unexpected \(tail.weight\)"):
        load_network(saved)
    save_file({**load_file(saved), "tail\n.weight": torch.ones(1)}, saved, metadata=metadata)
    with pytest.raises(
        ModelError, match=r"2 unexpected \('tail\\n.weight', tail.weight\)"
    ) as refusal:
        load_network(saved)
    one_line(refusal)


def test_files_that_are_no_weights(saved: Path, tmp_path: Path) -> None:
    def refused(path: Path, message: str) -> None:
        with pytest.raises(ModelError, match=message) as refusal:
            load_network(path)
        one_line(refusal)

    refused(tmp_path / "absent.safetensors", "does not exist")
    refused(tmp_path, "cannot read weights file")
    bare = tmp_path / "bare.safetensors"
    save_file({"weight": torch.ones(2)}, bare)
    refused(bare, "does not say which network")
    save_file({"weight": torch.ones(2)}, bare, metadata={"edgesr": "{"})
    refused(bare, "damaged header")
    content = saved.read_bytes()
    for length in (0, 4, 20, len(content) // 2, len(content) - 1):
        saved.write_bytes(content[:length])
        refused(saved, "truncated or not a safetensors file")
    saved.write_text("band,value\n1,0.3\n")
    refused(saved, "truncated or not a safetensors file")


@pytest.mark.parametrize("wrapping", ["plain", "state_dict", "params_ema", "parallel", "safe"])
@torch.no_grad()
def test_load_custom(own_module: Path, wrapping: str) -> None:
    source = load_custom("networks_of_an_author:tiny")
    weights = {key: torch.rand_like(value) for key, value in source.state_dict().items()}
    if wrapping == "safe":
        save_file(weights, "w.bin")
    else:
        wrapped: dict[str, Any] = {
            "plain": weights,
            "state_dict": {"epoch": 3, "state_dict": weights},
            "params_ema": {"params_ema": weights, "params": source.state_dict()},
            "parallel": {f"module.{key}": value for key, value in weights.items()},
        }[wrapping]
        torch.save(wrapped, "w.bin")
    model = load_custom("networks_of_an_author:tiny", Path("w.bin"))
    assert not model.training
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


def test_a_custom_network_travels_with_its_consent(own_module: Path) -> None:
    model = load_custom("networks_of_an_author:tiny")
    save_network(model, Path("w.safetensors"))
    with pytest.raises(ModelError, match=r"confirm with --model networks_of_an_author:tiny"):
        load_network(Path("w.safetensors"))
    loaded = load_network(Path("w.safetensors"), factory="networks_of_an_author:tiny")
    lr = torch.rand(1, 3, 4, 4)
    with torch.no_grad():
        assert torch.equal(loaded.model(lr), model(lr))


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("networks_of_an_author", "write it as package.module:function"),
        ("no_such_package.networks:tiny", "cannot import no_such_package.networks"),
        ("networks_of_an_author:huge", "has no function 'huge'"),
        ("networks_of_an_author:broken", r"failed \(ValueError: no\)"),
        ("networks_of_an_author:number", "returned a int"),
    ],
)
def test_factories_that_build_nothing(own_module: Path, factory: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as refusal:
        load_custom(factory)
    one_line(refusal)


def test_custom_weights_that_do_not_fit(own_module: Path, saved: Path) -> None:
    for content, message in (
        ({"0.weight": torch.ones(12, 3, 3, 3)}, r"1 missing \(0.bias\)"),
        ([torch.ones(1)], "holds no state dict"),
        ({"epoch": 3}, "holds no state dict"),
    ):
        torch.save(content, "w.pt")
        with pytest.raises(ModelError, match=message) as refusal:
            load_custom("networks_of_an_author:tiny", Path("w.pt"))
        one_line(refusal)
    Path("w.pt").write_bytes(Path("w.pt").read_bytes()[:200])
    with pytest.raises(ModelError, match=r"truncated or not a PyTorch file|could run code"):
        load_custom("networks_of_an_author:tiny", Path("w.pt"))
    with pytest.raises(ModelError, match="does not exist"):
        load_custom("networks_of_an_author:tiny", Path("absent.pt"))
    with pytest.raises(ModelError, match="does not fit the network Sequential"):
        load_custom("networks_of_an_author:tiny", saved)
