from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgesr.errors import OptionError
from edgesr.loading.weights import load_network, save_network
from edgesr.models import create_model
from edgesr.surgery.backbone import find_layers
from edgesr.surgery.passes.lowrank import lowrank
from edgesr.surgery.passes.remove import Skip, distance_to, find_blocks, rank_blocks, remove
from edgesr.surgery.structure import apply_changes, changes_of


class Residual(nn.Module):
    """x + strength * body(x), with an argument that only the block knows."""

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = strength
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1))

    def forward(self, x, size=None):
        return x + self.strength * self.body(x)


class Group(nn.Module):
    """RCAN's residual group."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual() for _ in range(2))
        self.tail = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        y = x
        for block in self.blocks:
            y = block(y, size=tuple(x.shape))
        return x + self.tail(y)


class Nested(nn.Module):
    """Groups of blocks, siblings outside a container, and what is no block."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(6, 8, 3, padding=1)
        self.groups = nn.Sequential(Group(), Group())
        self.first = Residual()
        self.second = Residual()
        self.once = Residual()  # a class with siblings, but called twice
        self.alone = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU())
        self.convs = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1))
        self.activations = nn.Sequential(nn.ReLU(), nn.ReLU())
        self.wide = nn.ModuleList([nn.Sequential(nn.Conv2d(8, 16, 1)) for _ in range(2)])
        self.ups = nn.ModuleList([nn.Sequential(nn.Conv2d(8, 24, 1)) for _ in range(2)])

    def forward(self, x):
        x = self.second(self.first(self.groups(self.head(x))))
        x = self.activations(self.convs(self.alone(self.once(self.once(x)))))
        x = sum(wide(x)[:, :8] for wide in self.wide)
        return sum(F.pixel_shuffle(up(x), 2) for up in self.ups)


BLOCKS = [
    "groups.0",
    "groups.0.blocks.0",
    "groups.0.blocks.1",
    "groups.1",
    "groups.1.blocks.0",
    "groups.1.blocks.1",
    "first",
    "second",
]


class Chain(nn.Module):
    """Blocks of known strength before an upsampler."""

    def __init__(self, strengths=(0.5, 0.01, 2.0, 0.1)) -> None:
        super().__init__()
        self.head = nn.Conv2d(6, 8, 1)
        self.body = nn.Sequential(*map(Residual, strengths))
        self.up = nn.Conv2d(8, 24, 1)

    def forward(self, x):
        return F.pixel_shuffle(self.up(self.body(self.head(x))), 2)


@pytest.fixture
def nested():
    torch.manual_seed(0)
    return Nested().eval()


@pytest.fixture
def chain():
    torch.manual_seed(0)
    return Chain().eval()


def test_both_levels_and_siblings_are_found_and_nothing_else(nested, example):
    assert find_blocks(nested, example) == BLOCKS
    assert not any(module._forward_hooks for module in nested.modules())


def test_blocks_of_the_shipped_network_are_found():
    model = create_model("lkca_net", bands=6, scale=2, blocks=3, channels=16)
    assert find_blocks(model, torch.rand(1, 6, 8, 8)) == ["body.0", "body.1", "body.2"]


def test_factored_layers_are_no_blocks(example):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(6, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 6, 1)
    )
    for site in find_layers(model, example)[1:3]:
        model, _ = lowrank(model, site, 2)
    assert find_blocks(model, example) == []


def test_an_upsampler_is_never_inside_a_block(example):
    class Stage(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.Conv2d(6, 24, 1)

        def forward(self, x):
            return F.avg_pool2d(F.pixel_shuffle(self.up(x), 2), 2)

    model = nn.Sequential(Stage(), Stage())
    assert find_blocks(model, example) == []


def test_blocks_whose_attributes_are_read_are_left_alone(example):
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(*[nn.Sequential(nn.Conv2d(6, 6, 1)) for _ in range(2)])

        def forward(self, x):
            return sum(block(x) * block[0].weight.sum() for block in self.body)

    assert find_blocks(Reads(), example) == []


def test_a_removed_block_passes_its_input_on(chain, example):
    student, change = remove(chain, ["body.0", "body.2"])
    assert change == {"pass": "remove", "site": "body.0+body.2", "layers": ["body.0", "body.2"]}
    inner = chain.body[3](chain.body[1](chain.head(example)))
    torch.testing.assert_close(student(example), F.pixel_shuffle(chain.up(inner), 2))
    assert isinstance(student.body[0], Skip)
    assert isinstance(chain.body[0], Residual)
    assert not [name for name in student.state_dict() if name.startswith(("body.0", "body.2"))]


def test_every_found_block_can_be_removed(nested, example):
    for path in BLOCKS:
        student, _ = remove(nested, [path])
        assert student(example).shape == nested(example).shape
        assert not torch.equal(student(example), nested(example))


def test_blocks_inside_a_removed_one_go_with_it(nested, example):
    student, change = remove(nested, ["groups.1.blocks.0", "groups.1", "first", "first"])
    assert change["layers"] == ["groups.1", "first"]
    alone, _ = remove(nested, ["groups.1", "first"])
    assert torch.equal(student(example), alone(example))


def test_a_group_can_follow_its_blocks(nested, example):
    student, _ = remove(nested, ["groups.1.blocks.0"])
    student, _ = remove(student, ["groups.1"])
    rebuilt = apply_changes(Nested().eval(), changes_of(student))
    rebuilt.load_state_dict(student.state_dict(), strict=True)
    assert torch.equal(rebuilt(example), student(example))


@pytest.mark.parametrize("paths", [[], ["body.9"], ["body.0", "gone"]])
def test_paths_that_are_not_there_are_refused(paths, chain):
    with pytest.raises(OptionError, match="find_blocks"):
        remove(chain, paths)


def test_distance_is_the_mean_squared_error_of_numpy(chain):
    tiles = torch.rand(20, 6, 5, 5)
    student, _ = remove(chain, ["body.0"])
    with torch.no_grad():
        pairs = [(chain(tile[None]).numpy(), student(tile[None]).numpy()) for tile in tiles]
    expected = np.mean([np.square(a.astype(float) - b).mean() for a, b in pairs])
    for given in (tiles, list(tiles), tiles.split(6)):
        assert distance_to(chain, given)(student) == pytest.approx(expected, rel=1e-5)
    assert distance_to(chain, tiles)(chain) == 0


def test_ranking_is_greedy_against_every_alternative(chain):
    tiles = torch.rand(4, 6, 8, 8)
    effect = distance_to(chain, tiles)
    blocks = [f"body.{i}" for i in range(4)]
    ranking = rank_blocks(chain, blocks, effect)
    gone: list[str] = []
    for path, value in ranking:
        alternatives = {
            other: effect(remove(chain, [*gone, other])[0]) for other in blocks if other not in gone
        }
        assert path == min(alternatives, key=alternatives.get)
        assert value == pytest.approx(alternatives[path])
        gone.append(path)
    assert len(ranking) == 3
    assert ranking[0][0] == "body.1"  # the weakest of all


def test_the_first_of_the_ranking_is_the_best_single_block(chain):
    effect = distance_to(chain, torch.rand(4, 6, 8, 8))
    blocks = find_blocks(chain, torch.rand(1, 6, 8, 8))
    singles = {path: effect(remove(chain, [path])[0]) for path in blocks}
    assert rank_blocks(chain, blocks, effect)[0][0] == min(singles, key=singles.get)


def test_one_block_stays_in_every_container_and_nothing_goes_twice(nested, example):
    ranking = rank_blocks(nested, BLOCKS, distance_to(nested, example))
    gone = [path for path, _ in ranking]
    for earlier, later in itertools.combinations(gone, 2):
        assert not later.startswith(f"{earlier}.")
        assert earlier != later
    student, _ = remove(nested, gone)
    left = [path for path in BLOCKS if isinstance(dict(student.named_modules()).get(path), Skip)]
    assert not {"groups.0", "groups.1"} <= set(left)
    assert not {"first", "second"} <= set(left)
    assert torch.isfinite(student(example)).all()


def test_ranking_goes_on_where_it_was_interrupted(nested, example):
    effect = distance_to(nested, example)
    seen = []
    whole = rank_blocks(nested, BLOCKS, effect, progress=lambda *entry: seen.append(entry))
    assert seen == whole
    later: list[tuple[str, float]] = []
    again = rank_blocks(nested, BLOCKS, effect, whole[:2], lambda *entry: later.append(entry))
    assert again == whole
    assert later == whole[2:]


def test_the_network_and_its_mode_stay(chain):
    chain.train()
    before = {name: value.clone() for name, value in chain.state_dict().items()}
    rank_blocks(chain, ["body.0", "body.1"], distance_to(chain, torch.rand(2, 6, 5, 5)))
    assert all(module.training for module in chain.modules())
    after = chain.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_broken_effect_is_never_chosen(chain):
    values = {"body.0": float("nan"), "body.1": 3.0, "body.2": float("inf"), "body.3": 4.0}

    def effect(model):
        [gone] = [i for i, block in enumerate(model.body) if isinstance(block, Skip)]
        return values[f"body.{gone}"]

    two = ["body.0", "body.1"]
    assert rank_blocks(chain, two, effect) == [("body.1", 3.0)]
    assert rank_blocks(chain, ["body.2", "body.3"], effect) == [("body.3", 4.0)]


def test_file_without_blocks_loads_again(tmp_path: Path):
    model = create_model("lkca_net", bands=6, scale=2, blocks=3, channels=16).eval()
    x = torch.rand(1, 6, 8, 8)
    student, _ = remove(model, ["body.1"])
    save_network(student, tmp_path / "net.safetensors")
    loaded = load_network(tmp_path / "net.safetensors").model
    assert torch.equal(loaded(x), student(x))


def test_exported_graph_computes_the_same(chain, example):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    student, _ = remove(chain, ["body.0", "body.3"])
    file = io.BytesIO()
    torch.onnx.export(student, (example,), dynamo=True, verbose=False).save(file)
    session = runtime.InferenceSession(file.getvalue())
    [exported] = session.run(None, {session.get_inputs()[0].name: example.numpy()})
    np.testing.assert_allclose(exported, student(example).detach(), atol=1e-5)
