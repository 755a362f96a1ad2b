"""The file beside a student loads it in a process that has no edgesr."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import third_party
import torch
from safetensors.torch import load_file
from torch import nn

from edgesr.errors import ModelError
from edgesr.loading.fitting import fit
from edgesr.loading.functional_convs import make_plain
from edgesr.loading.standalone import write_loader
from edgesr.loading.weights import load_custom, load_network, save_network
from edgesr.models import create_model
from edgesr.surgery import find_layers, find_sites, grouped, lowrank, shrink
from edgesr.surgery.passes.remove import find_blocks, remove

HERE = Path(__file__).parent
IMAGE = torch.rand(1, 6, 16, 16, generator=torch.Generator().manual_seed(5))

PARALLEL = '''
import torch
import torch.nn.functional as F
from torch import nn


class Pair(nn.Module):
    """Two transposed convolutions on one tensor share the factor; one layer has two names."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(6, 12, 3, padding=1)
        self.main = nn.ConvTranspose2d(12, 8, 4, stride=2, padding=1)
        self.side = nn.ConvTranspose2d(12, 8, 4, stride=2, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(16, 16, 3, padding=1)) for _ in range(3)
        )
        self.also = self.blocks[1][0]
        self.tail = nn.Conv2d(16, 6, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.head(x))
        x = torch.cat([F.relu(self.main(x)), self.side(x)], 1)
        for block in self.blocks:
            x = x + block(x)
        return self.tail(x + self.also(x))
'''
"""A factory's file of the user's own."""

PROGRAM = """
import importlib.util, sys
sys.modules["edgesr"] = None
import torch
torch.set_num_threads(1)
for folder in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("student", f"{folder}/student.py")
    student = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(student)
    network = student.load()
    assert not network.training
    torch.save(network(torch.load("image.pt")), f"{folder}/output.pt")
"""


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A third-party network, ready for surgery, by factory."""
    (tmp_path / "own_nets.py").write_text(PARALLEL)
    monkeypatch.syspath_prepend(str(tmp_path))

    def build(factory):
        torch.manual_seed(0)
        model = load_custom(factory)
        fit(model, IMAGE, third_party.SCALE.get(factory.partition(":")[2], 2))
        return make_plain(model, IMAGE)[0]

    yield build
    sys.modules.pop("own_nets", None)


def write(model, folder):
    folder.mkdir(exist_ok=True)
    save_network(model, folder / "student.safetensors")
    write_loader(model, folder / "student.py")


@torch.no_grad()
def check(model, factory, folder):
    """Write, load where edgesr cannot be imported, and compare; the text of the loader."""
    write(model, folder)
    expected = load_network(folder / "student.safetensors", factory).model(IMAGE)
    text = (folder / "student.py").read_text()
    scope = {"__file__": str(folder / "student.py"), "__name__": "student"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "edgesr", None)
        exec(compile(text, "student.py", "exec"), scope)
        output = scope["load"]()(IMAGE)
    torch.testing.assert_close(output, expected, atol=1e-6, rtol=1e-6)
    assert output.abs().max() > 0
    return text


# between them: functionals, tuples, dictionaries, volumes, scale arguments, padding, complex
# weights, extra state, weight normalisation, layers with two names, removed blocks
KINDS = [
    "conv3d", "custom_conv", "dict_output", "fourier", "functional", "msdformer", "rcan",
    "scale_argument", "stateful", "swinir_unpadded", "unet", "wdsr",
]  # fmt: skip


def compressed(model):
    for site in find_sites(model, IMAGE):
        model, _ = lowrank(model, site, 2)
    for site in find_layers(model, IMAGE)[:1]:
        model = (shrink(model, site, 0.3) or (model,))[0]
    blocks = find_blocks(model, IMAGE)
    return remove(model, blocks[-1:])[0] if blocks else model


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_loads_without_edgesr(kind, opened, tmp_path):
    check(compressed(opened(f"third_party:{kind}")), f"third_party:{kind}", tmp_path)


@torch.no_grad()
def test_a_fresh_process_that_has_no_edgesr(opened, tmp_path):
    factories = ["third_party:functional", "third_party:msdformer", "own_nets:Pair"]
    folders = [tmp_path / str(i) for i in range(len(factories))]
    for factory, folder in zip(factories, folders, strict=True):
        write(compressed(opened(factory)), folder)
    torch.save(IMAGE, tmp_path / "image.pt")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, *map(str, folders)],
        cwd=tmp_path,  # where own_nets lies
        env={"PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for factory, folder in zip(factories, folders, strict=True):
        expected = load_network(folder / "student.safetensors", factory).model(IMAGE)
        output = torch.load(folder / "output.pt")
        torch.testing.assert_close(output, expected, atol=1e-6, rtol=1e-6)


def test_shared_factors_and_layers_with_two_names(opened, tmp_path):
    model = opened("own_nets:Pair")
    [pair] = find_sites(model, IMAGE)
    assert pair.layers == ("main", "side")
    model, _ = lowrank(model, pair, 3)
    twice = next(s for s in find_layers(model, IMAGE) if s.layers == ("blocks.1.0",))
    model, _ = lowrank(model, twice, 5)
    model, _ = remove(model, ["blocks.2"])
    text = check(model, "own_nets:Pair", tmp_path)
    assert "model.set_submodule('also', model.get_submodule('blocks.1.0'))" in text
    assert text.count("def forward") == 2  # SharedFactor and Skip


def test_the_state_dict_of_a_grouped_student_fits_the_users_class(opened, tmp_path):
    model = opened("third_party:hand_shuffle")
    [site] = find_sites(model, IMAGE)
    student, _ = grouped(model, site, 2)
    text = check(student, "third_party:hand_shuffle", tmp_path)
    assert "The state dict also fits a class that builds the layers in load() itself" in text
    own = third_party.hand_shuffle()
    own.up = nn.Conv2d(12, 24, 3, padding=1, groups=2)
    own.load_state_dict(load_file(tmp_path / "student.safetensors"))
    torch.testing.assert_close(own(IMAGE), student(IMAGE))


def test_without_changes_the_class_fits_as_it_is(opened, tmp_path):
    model = opened("third_party:edsr")
    text = check(model, "third_party:edsr", tmp_path)
    assert "also fits the class as it is" in text
    third_party.edsr().load_state_dict(load_file(tmp_path / "student.safetensors"))


@pytest.mark.parametrize("kind", ["functional", "conv3d", "fourier"])
def test_the_file_imports_all_that_it_names_and_no_more(kind, opened, tmp_path):
    model = opened(f"third_party:{kind}")
    write_loader(model, tmp_path / "student.py")
    tree = ast.parse((tmp_path / "student.py").read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported - {"annotations"} <= names
    assert names & {"F", "torch", "nn", "Any", "wraps", "OrderedDict", "Tensor"} <= imported


@torch.no_grad()
def test_a_network_of_edgesr_is_made_by_edgesr(tmp_path):
    model = create_model("vdsr", bands=6, scale=2)
    [site] = find_sites(model, IMAGE)
    student, _ = lowrank(model, site, 3)
    save_network(student, tmp_path / "student.safetensors")
    write_loader(student, tmp_path / "student.py")
    scope = {"__file__": str(tmp_path / "student.py")}
    exec((tmp_path / "student.py").read_text(), scope)
    torch.testing.assert_close(scope["load"]()(IMAGE), student.eval()(IMAGE))


def test_a_network_of_one_layer(opened, tmp_path, monkeypatch):
    layer = lambda: nn.ConvTranspose2d(6, 6, 4, stride=2, padding=1)  # noqa: E731
    monkeypatch.setattr(third_party, "layer", layer, raising=False)
    model = opened("third_party:layer")
    [site] = find_sites(model, IMAGE)
    student, _ = lowrank(model, site, 2)
    check(student, "third_party:layer", tmp_path)


@torch.no_grad()
def test_a_file_of_any_name_can_hold_the_factory(opened, tmp_path):
    (tmp_path / "my-nets.py").write_text(PARALLEL)
    text = check(opened("my-nets:Pair"), "my-nets:Pair", tmp_path)
    assert "factory = getattr(import_module('my-nets'), 'Pair')" in text


def test_what_no_factory_made_is_refused(tmp_path):
    with pytest.raises(ModelError, match="create_model or load_custom"):
        write_loader(nn.Conv2d(1, 1, 1), tmp_path / "student.py")
    assert not list(tmp_path.iterdir())
