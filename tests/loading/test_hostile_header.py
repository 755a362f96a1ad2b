"""Weights whose header anyone may have written: one line each, and nothing of it ever runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgesr.cube import Cube
from edgesr.errors import EdgesrError, ModelError
from edgesr.loading.signature import Call, adapt
from edgesr.loading.standalone import write_loader
from edgesr.loading.weights import HEADER_KEY, Loaded, load_custom, load_network, save_network
from edgesr.loading.workload import open_scene
from edgesr.models import create_model
from edgesr.recipe.recipes import WeightsRecipe
from edgesr.scenes.upscale import upscale
from edgesr.surgery import apply_changes

T = TypeVar("T")
FACTORY = "hostile_networks:everything"

NETWORKS = '''
import torch
import torch.nn.functional as F
from torch import nn


class Everything(nn.Module):
    """A layer for every pass, extra state, complex weights, and a call of its own."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(4, 4, 3, padding=1)
        self.wide = nn.Conv2d(4, 4, 3, padding=1)
        self.own = nn.Conv2d(4, 4, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(4, 4, 1)) for _ in range(2))
        self.weight = nn.Parameter(torch.zeros(4, 4, 3, 3))
        self.bias = nn.Parameter(torch.zeros(4))
        self.wave = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        self.up = nn.Conv2d(4, 16, 3, padding=1)
        self.note = {"steps": 3}

    def get_extra_state(self):
        return self.note

    def set_extra_state(self, state):
        self.note = {"steps": state["steps"]}

    def forward(self, x, scale):
        x = self.own(self.wide(self.head(x)))
        for block in self.blocks:
            x = x + block(x)
        x = x + F.conv2d(x, self.weight, self.bias, padding=1) * self.wave.real.sum()
        return {"sr": F.pixel_shuffle(self.up(x), scale)}


def everything():
    return Everything()
'''

PLAIN = {
    "transposed": False,
    "in_channels": 4,
    "out_channels": 4,
    "kernel": [3, 3],
    "stride": [1, 1],
    "padding": [1, 1],
    "output_padding": [0, 0],
    "dilation": [1, 1],
    "groups": 1,
    "padding_mode": "zeros",
    "bias": True,
}
CHANGES: list[dict[str, Any]] = [
    {"pass": "plain", "site": "own", "layers": ["own"], "geometry": PLAIN},
    {
        "pass": "plain",
        "site": "weight_conv",
        "layers": ["", ""],
        "weight": "weight",
        "bias": "bias",
        "child": "weight_conv",
        "geometry": PLAIN,
    },
    {"pass": "lowrank", "site": "head", "layers": ["head"], "rank": 2},
    {"pass": "tucker", "site": "wide", "layers": ["wide"], "rank_in": 2, "rank_out": 3},
    {"pass": "grouped", "site": "up", "layers": ["up"], "groups": 2},
    {"pass": "remove", "site": "blocks.1", "layers": ["blocks.1"]},
]
DATA: dict[str, Any] = {
    "name": "made",
    "source": "made.npy",
    "shape": [20, 20, 4],
    "bands": "0-3",
    "nodata": None,
    "protocol": "auto",
    "scale": 2,
    "degradation": "bicubic",
    "normalisation": {"mode": "band", "lower": [0.0] * 4, "upper": [1.0] * 4},
}


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that only code out of a header would make."""
    return tmp_path / "canary"


@pytest.fixture
def cube() -> Cube:
    data = np.random.default_rng(0).random((20, 20, 4), dtype=np.float32)
    return Cube(data, "made", source="made.npy")


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights with every kind of surgery entry, and all that a header can hold."""
    (tmp_path / "hostile_networks.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    model = apply_changes(load_custom(FACTORY), CHANGES)
    adapt(model, Call(2, (("scale", "int"),), multiple=2, output="sr"))
    path = tmp_path / "third_party.safetensors"
    save_network(model, path, data=DATA, training={"epochs": 3})
    return path


def ours(name: str, config: dict[str, Any], changes: list[dict[str, Any]]) -> Callable[..., Path]:
    def save(path: Path) -> Path:
        model = apply_changes(create_model(name, **config), changes)
        save_network(model, path, data=DATA)
        return path

    return save


OURS = {
    "lkca_net": ours(
        "lkca_net",
        {"bands": 4, "scale": 2, "blocks": 2, "channels": 16},
        [
            {"pass": "lowrank", "site": "upsampler", "layers": ["upsampler"], "rank": 3},
            {"pass": "remove", "site": "body.1", "layers": ["body.1"]},
        ],
    ),
    "dacn": ours(
        "dacn",
        {"bands": 4, "scale": 2, "group_bands": 2, "overlap": 1, "width": 8},
        [
            {
                "pass": "lowrank",
                "site": "core.upsampler.0.main",
                "layers": ["core.upsampler.0.main", "core.upsampler.0.skip"],
                "rank": 3,
            }
        ],
    ),
}


def codes(canary: Path) -> list[str]:
    """Code that leaves whatever quotes a careless writer puts around it."""
    run = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    double = run.replace("'", '"')
    return [
        run,
        f"' + str({double}) + '",
        f'" + str({run}) + "',
        f'"""\n{run}\n"""',
        f"\\' + str({double}) + \\'",
        f"x\n    {run}",
        f"x\u2028{run}",
        f"x=({run})",
    ]


ODD: list[Any] = [
    *("", ".", "class", "\0", "é", "x" * 100_000),
    *(-1, 0, 3, 10**6, 10**400, 0.5, float("nan"), float("inf"), True, None),
    *([], {}, [[]], ["x"], {"x": 1}),
]
DEEP, LONG = "deep-value", "long-value"
RAW = {f'"{DEEP}"': "[" * 10_000 + "]" * 10_000, f'"{LONG}"': "9" * 5_000}
"""What Python's json does not write: replaced in the text."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of every node and leaf below the top."""
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = [(i, one) for i, one in enumerate(value) if i == 0 or isinstance(one, dict)]
    for key, inner in entries:
        yield (*path, key)
        yield from places(inner, (*path, key))


def replaced(header: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(header)
    target: Any = changed
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return changed


def renamed(header: dict[str, Any], path: tuple[Any, ...], name: str) -> dict[str, Any] | None:
    """The key at the end of the path has another name; None where it is an index."""
    changed = copy.deepcopy(header)
    target: Any = changed
    for key in path[:-1]:
        target = target[key]
    if not isinstance(target, dict):
        return None
    target[name] = target.pop(path[-1])
    return changed


def header_of(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dict(json.loads(file.metadata()[HEADER_KEY]))


def attempt(work: Callable[[], T]) -> T | None:
    """What comes of it; None where it is refused, in one line. Nothing else may be raised."""
    try:
        return work()
    except EdgesrError as error:
        refusal = error
    assert refusal.exit_code == 2
    assert str(refusal).isprintable(), str(refusal)[:200]
    assert len(str(refusal)) < 2_000
    return None


class Case:
    """A file whose header is replaced again and again."""

    def __init__(self, path: Path, factory: str | None, canary: Path, cube: Cube) -> None:
        self.path, self.factory, self.canary, self.cube = path, factory, canary, cube
        self.header, self.tensors = header_of(path), load_file(path)

    def places(self) -> list[tuple[Any, ...]]:
        """Every node of the header; of a network of ours, where it differs from a third-party."""
        found = [path for path in places(self.header) if path[:2] != ("training", "epochs")]
        return found if self.factory else [p for p in found if p[0] in ("config", "surgery")]

    def load(self, header: Any) -> Loaded | None:
        """Load with another header; None where that is refused."""
        text = json.dumps(header)
        for word, raw in RAW.items():
            text = text.replace(word, raw)
        save_file(self.tensors, self.path, metadata={HEADER_KEY: text})
        loaded = attempt(lambda: load_network(self.path, self.factory))
        assert not self.canary.exists()
        return loaded

    def use(self, loaded: Loaded) -> None:
        """Do with a loaded network what reads its header."""
        cube, high = self.recipe.data, self.path.with_name("high.npy")
        attempt(lambda: upscale(cube, high, self.path, factory=self.factory, overwrite=True))
        attempt(lambda: open_scene(self.recipe, loaded.metadata["data"], None))
        student = self.path.with_name("student.py")
        write_loader(loaded.model, student, self.path.name)
        scope: dict[str, Any] = {"__file__": str(student), "__name__": "student"}
        exec(compile(student.read_text("utf-8"), "student.py", "exec"), scope)
        assert not self.canary.exists()
        again = scope["load"]()
        assert not self.canary.exists()
        expected = getattr(loaded.model, "network", loaded.model).state_dict()
        found = getattr(again, "network", again).state_dict()
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert not isinstance(value, torch.Tensor) or torch.equal(value, found[key])

    @property
    def recipe(self) -> WeightsRecipe:
        cube = self.path.with_name("made.npy")
        if not cube.exists():
            np.save(cube, self.cube.data)
        return WeightsRecipe(data=str(cube), patch=4)


@pytest.fixture(params=["third_party", *OURS])
def case(request, third_party: Path, canary: Path, cube: Cube) -> Case:
    if request.param == "third_party":
        return Case(third_party, FACTORY, canary, cube)
    return Case(OURS[request.param](third_party.parent / "ours.safetensors"), None, canary, cube)


def test_the_header_as_it_is(case: Case) -> None:
    loaded = case.load(case.header)
    assert loaded is not None
    case.use(loaded)
    assert (case.path.parent / "student.py").is_file()


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_code_in_every_place(case: Case, step: int) -> None:
    """As a value and as a key: all of it when step is 1, else every place with some of it."""
    for start, path in enumerate(case.places()):
        for code in codes(case.canary)[start % step :: step]:
            for header in (replaced(case.header, path, code), renamed(case.header, path, code)):
                loaded = None if header is None else case.load(header)
                if loaded is not None and path[0] != "training":
                    case.use(loaded)


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_odd_values_in_every_place(case: Case, step: int) -> None:
    for start, path in enumerate(case.places()):
        for value in (*ODD, DEEP, LONG)[start % step :: step]:
            loaded = case.load(replaced(case.header, path, value))
            if loaded is not None and path[0] != "training":
                case.use(loaded)


def test_something_else_than_a_header(case: Case) -> None:
    for value in (*ODD, DEEP, LONG):
        assert case.load(value) is None


def test_keys_that_are_left_out(case: Case) -> None:
    for path in case.places():
        header = copy.deepcopy(case.header)
        target: Any = header
        for key in path[:-1]:
            target = target[key]
        del target[path[-1]]
        if (loaded := case.load(header)) is not None:
            case.use(loaded)


BOMBS: list[tuple[tuple[Any, ...], Any]] = [
    (("config", "blocks"), 10**4),
    (("config", "channels"), 65536),
    (("config", "bands"), 65536),
    (("surgery", 0, "rank"), 65536),
]


@pytest.mark.parametrize(("path", "value"), BOMBS)
def test_what_the_file_does_not_hold_is_never_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: tuple[Any, ...], value: int
) -> None:
    """A network is built on the meta device first; only one that fits the file takes memory."""
    file = OURS["lkca_net"](tmp_path / "w.safetensors")
    header = header_of(file)
    header["data"] = {}
    save_file(
        load_file(file), file, metadata={HEADER_KEY: json.dumps(replaced(header, path, value))}
    )
    built: list[torch.device] = []

    def building(name: str, **config: Any) -> torch.nn.Module:
        model = create_model(name, **config)
        built.append(next(model.parameters()).device)
        return model

    monkeypatch.setattr("edgesr.loading.weights.create_model", building)
    with pytest.raises(ModelError):
        load_network(file)
    assert built in ([], [torch.device("meta")])


def test_a_third_party_network_s_layers_are_not_allocated_either(
    third_party: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = header_of(third_party)
    changed = replaced(header, ("surgery", 0, "geometry", "in_channels"), 65536)
    changed = replaced(changed, ("surgery", 0, "geometry", "out_channels"), 65536)
    save_file(load_file(third_party), third_party, metadata={HEADER_KEY: json.dumps(changed)})
    applied: list[bool] = []

    def applying(model: torch.nn.Module, changes: Any) -> torch.nn.Module:
        applied.append(next(model.parameters()).is_meta)
        return apply_changes(model, changes)

    monkeypatch.setattr("edgesr.loading.weights.apply_changes", applying)
    with pytest.raises(ModelError, match=r"own\.weight is .* instead of \[65536, 65536, 3, 3\]"):
        load_network(third_party, FACTORY)
    assert applied == [True]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_named(third_party: Path, value: float) -> None:
    header, tensors = header_of(third_party), load_file(third_party)
    for key in tensors:
        spoiled = {name: tensor.clone() for name, tensor in tensors.items()}
        spoiled[key].view(-1)[-1] = value
        save_file(spoiled, third_party, metadata={HEADER_KEY: json.dumps(header)})
        with pytest.raises(ModelError, match=f"not finite, in {key};"):
            load_network(third_party, FACTORY)


def test_names_full_of_code_are_only_names(
    tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third-party modules and parameters may have any name; the loader only repeats it."""
    run = f"exec(bytes({list(f'open({str(canary)!r}, chr(119))'.encode())}))"  # has no dots
    names = [run, f"' + str({run}) + '", f'" + str({run}) + "', f'"""; {run} #', f"\\'; {run} #"]
    (tmp_path / "named_networks.py").write_text(
        "import torch\nfrom torch import nn\n"
        f"NAMES = {names!r}\n"
        "def named():\n"
        "    model = nn.Module()\n"
        "    for name in NAMES:\n"
        "        model.add_module(name, nn.Conv2d(4, 4, 3, padding=1))\n"
        "        model.register_parameter(name + 'w', nn.Parameter(torch.ones(4, 4, 1, 1)))\n"
        "    return model\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    changes: list[dict[str, Any]] = []
    for name in names:
        changes.append({"pass": "lowrank", "site": name, "layers": [name], "rank": 2})
        hoisted = {"weight": f"{name}w", "bias": None, "child": f"{name}c"}
        geometry = {**PLAIN, "kernel": [1, 1], "padding": [0, 0], "bias": False}
        entry = {"pass": "plain", "site": f"{name}c", "layers": ["", ""], **hoisted}
        changes.append({**entry, "geometry": geometry})
    factory = "named_networks:named"
    save_network(apply_changes(load_custom(factory), changes), tmp_path / "student.safetensors")
    loaded = load_network(tmp_path / "student.safetensors", factory)
    write_loader(loaded.model, tmp_path / "student.py")
    scope: dict[str, Any] = {"__file__": str(tmp_path / "student.py"), "__name__": "student"}
    exec(compile((tmp_path / "student.py").read_text("utf-8"), "student.py", "exec"), scope)
    found = scope["load"]().state_dict()
    assert found.keys() == loaded.model.state_dict().keys()
    assert len(found) == 4 * len(names)  # two factors, a bias, a hoisted weight
    assert not canary.exists()
