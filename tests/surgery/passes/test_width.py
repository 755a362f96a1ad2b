"""Narrower blocks: what may be left out, that it is fitted right, and that a file rebuilds it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgesr.errors import ModelError, OptionError
from edgesr.evaluation.cost import count
from edgesr.loading.weights import load_network, save_network
from edgesr.models import create_model
from edgesr.surgery.calibrate import all_moments
from edgesr.surgery.passes.width import find_widths, narrow, order_channels, widths
from edgesr.surgery.structure import apply_changes, changes_of


class Block(nn.Module):
    """A pair inside a residual; what is computed between is up to a subclass."""

    def __init__(self, channels=6, inner=16, kernel=3, bias=True, groups=1):
        super().__init__()
        options = {"padding": kernel // 2, "bias": bias}
        self.one = nn.Conv2d(channels, inner, kernel, **options)
        self.two = nn.Conv2d(inner, channels, kernel, groups=groups, **options)

    def between(self, x):
        return F.gelu(x)

    def forward(self, x):
        return x + self.two(self.between(self.one(x)))


class Upsampled(nn.Module):
    def __init__(self, block, channels=6):
        super().__init__()
        self.head = nn.Conv2d(4, channels, 1)
        self.block = block
        self.tail = nn.Conv2d(channels, 16, 1)

    def forward(self, x):
        return F.pixel_shuffle(self.tail(self.block(self.head(x))), 2)


def network(kind=Block, **options):
    torch.manual_seed(0)
    return Upsampled(kind(**options)).eval()


def tiles(seed=1, bands=4):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(4, bands, 8, 9, generator=generator) for _ in range(3)]


def found(model, x=None):
    return find_widths(model, tiles()[0] if x is None else x, least_share=0)


def within(model):
    """The inner width of the block; the trunk around it is one, too."""
    (inner,) = [inner for inner in found(model) if inner.name.startswith(("block.one", "block.0"))]
    return inner


def moments_of(model, inners, inputs):
    readers = {site.name: site for inner in inners for site in inner.readers}
    return all_moments(model, list(readers.values()), inputs)


def run(model, x):
    with torch.no_grad():
        return model(x)


def test_a_pair_and_a_residual_trunk_are_found():
    trunk, inner = found(network())
    assert (trunk.name, trunk.width) == ("head+block.two", 6)
    assert (inner.name, inner.width) == ("block.one", 16)
    assert [(end.path, max(end.inputs), max(end.outputs)) for end in inner.ends] == [
        ("block.one", -1, 15),
        ("block.two", 15, -1),
    ]
    assert widths(inner) == list(range(15, 0, -1))


class Normed(Block):
    def between(self, x):
        return F.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)


class Shuffled(Block):
    def between(self, x):
        return F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2)


class Scaled(Block):
    def __init__(self, **options):
        super().__init__(**options)
        self.scale = nn.Parameter(torch.rand(16, 1, 1))

    def between(self, x):
        return x * self.scale


class Softmaxed(Block):
    def between(self, x):
        return x.softmax(1)


class Peeked(Block):
    """Reads the weight of the layer itself."""

    def between(self, x):
        return x * self.one.weight.square().mean()


class Flattened(Block):
    def between(self, x):
        return x.reshape(x.shape[0], 8, 2, *x.shape[2:]).flatten(1, 2)


class Sorted(Block):
    """A channel's place decides what happens to it."""

    def between(self, x):
        return torch.cat([x[:, :8].relu(), x[:, 8:]], 1)


class Hidden(torch.autograd.Function):
    """What no trace of functions sees: mixes the channels."""

    @staticmethod
    def forward(ctx, x):
        return x + x.mean(1, keepdim=True)


class Unseen(Block):
    def between(self, x):
        y = Hidden.apply(x)
        return x.add(y.mean((1, 2, 3), keepdim=True))


@pytest.mark.parametrize(
    "kind", [Normed, Shuffled, Scaled, Softmaxed, Peeked, Flattened, Sorted, Unseen]
)
def test_channels_that_are_not_alone_stay(kind):
    assert not any("block.one" in inner.name for inner in found(network(kind)))


class Between(Block):
    """All that keeps channels apart: padding, depthwise, pooling, gates, a mask for all of them."""

    def __init__(self, **options):
        super().__init__(**options)
        self.deep = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.squeeze = nn.Conv2d(16, 4, 1)
        self.excite = nn.Conv2d(4, 16, 1)
        self.mask = nn.Conv2d(16, 1, 1)

    def forward(self, x):
        y = self.deep(F.pad(torch.relu(self.one(x)), (1, 1, 1, 1), mode="replicate"))
        gate = self.excite(torch.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))).sigmoid()
        y = y * gate * self.mask(y).sigmoid()
        return x + F.interpolate(self.two(F.avg_pool2d(y, 2)), x.shape[-2:])


def test_what_keeps_channels_apart_is_looked_through():
    first = next(i for i in found(network(Between)) if i.name.startswith("block.one"))
    assert first.name == "block.one+block.excite"
    assert {end.path.removeprefix("block.") for end in first.ends} == {
        *("one", "deep", "squeeze", "excite", "mask", "two")
    }


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_layer_behind_is_the_least_squares_fit_of_numpy(kernel, bias, groups):
    model, inputs = network(kernel=kernel, bias=bias, groups=groups), tiles()
    inner = within(model)
    moments = moments_of(model, [inner], inputs)
    student, _ = narrow(model, {inner.name: 10}, [inner], moments)
    kept = sorted(order_channels(model, inner, moments).channels[:10])
    assert torch.equal(student.block.one.weight, model.block.one.weight[kept])
    hidden = run(lambda x: F.gelu(model.block.one(model.head(x))), torch.cat(inputs))
    wanted = run(model.block.two, hidden).movedim(1, -1).flatten(0, 2).double().numpy()
    for group in range(groups):
        own = [place for place in kept if place * groups // 16 == group]
        assert len(own) * groups == 10
        columns = F.unfold(hidden[:, own], kernel, padding=kernel // 2)
        columns = columns.movedim(1, -1).flatten(0, 1).double().numpy()
        design = np.hstack([columns, np.ones((len(columns), int(bias)))])
        rows = slice(group * 6 // groups, (group + 1) * 6 // groups)
        best = design @ np.linalg.lstsq(design, wanted[:, rows], rcond=None)[0]
        got = columns @ student.block.two.weight[rows].flatten(1).detach().double().numpy().T
        got += student.block.two.bias[rows].detach().double().numpy() if bias else 0
        sliced = (
            columns
            @ model.block.two.weight[rows]
            .detach()
            .double()
            .numpy()[:, [place - group * 16 // groups for place in own]]
            .reshape(6 // groups, -1)
            .T
        )
        least, real, bare = (np.square(y - wanted[:, rows]).sum() for y in (best, got, sliced))
        assert real == pytest.approx(least, rel=1e-2, abs=1e-4 * bare)
        assert real < bare / 2


@pytest.mark.parametrize("kind", ["conv", "transposed"])
def test_redundant_channels_go_without_loss(kind):
    model = network()
    if kind == "transposed":
        model.block = nn.Sequential(
            nn.Conv2d(6, 16, 3, padding=1),
            nn.Identity(),
            nn.ConvTranspose2d(16, 6, 3, stride=2, padding=1, output_padding=1),
        )
        one = model.block[0]
    else:
        one = model.block.one
    with torch.no_grad():  # each channel is there twice, once at another size
        one.weight[8:], one.bias[8:] = one.weight[:8], one.bias[:8]
        if kind == "transposed":
            one.weight[8:] *= 2
            one.bias[8:] *= 2
    inner = within(model)
    moments = moments_of(model, [inner], tiles())
    order = order_channels(model, inner, moments)
    assert {place % 8 for place in order.channels[:8]} == set(range(8))
    assert order.lost[7] < 1e-4 < order.lost[6]
    student, _ = narrow(model, {inner.name: 8}, [inner], moments)
    x = tiles(seed=5)[0]
    assert torch.allclose(run(student, x), run(model, x), atol=1e-4)
    worse, _ = narrow(model, {inner.name: 7}, [inner], moments)
    assert not torch.allclose(run(worse, x), run(model, x), atol=1e-3)


def test_the_promised_loss_is_that_of_the_data():
    model, inputs = network(), tiles()
    inner = within(model)
    moments = moments_of(model, [inner], inputs)
    order = order_channels(model, inner, moments)
    assert list(order.lost) == sorted(order.lost, reverse=True)
    assert order.lost[-1] == pytest.approx(0, abs=1e-6)
    x = torch.cat(inputs)
    before = run(lambda x: model.block.two(F.gelu(model.block.one(model.head(x)))), x).double()
    energy = (before - before.mean((0, 2, 3), keepdim=True)).square().sum()
    for width in (4, 9, 14):
        student, _ = narrow(model, {inner.name: width}, [inner], moments)
        after = run(lambda x, s=student: s.block.two(F.gelu(s.block.one(s.head(x)))), x)
        lost = float((after - before).square().sum() / energy)
        assert lost == pytest.approx(order.lost[width - 1], rel=1e-2, abs=1e-4)


def test_every_choice_explains_most():
    """The greedy choice against one by numpy that fits anew for every channel."""
    model, inputs = network(kernel=1), tiles()
    inner = within(model)
    order = order_channels(model, inner, moments_of(model, [inner], inputs))
    hidden = run(lambda x: F.gelu(model.block.one(model.head(x))), torch.cat(inputs))
    pixels = hidden.movedim(1, -1).flatten(0, 2).double().numpy()
    pixels = pixels - pixels.mean(0)
    wanted = pixels @ model.block.two.weight.detach().double().numpy()[:, :, 0, 0].T

    def rest(channels):
        fitted = pixels[:, channels] @ np.linalg.lstsq(pixels[:, channels], wanted, rcond=None)[0]
        return np.square(wanted - fitted).sum()

    kept: list[int] = []
    for _ in range(6):
        left = [channel for channel in range(16) if channel not in kept]
        kept.append(min(left, key=lambda channel: rest([*kept, channel])))
    assert order.channels[:6] == tuple(kept)


def lkca(**options):
    torch.manual_seed(0)
    model = create_model("lkca_net", bands=4, scale=2, blocks=2, channels=32, **options).eval()
    for block in model.body:
        nn.init.ones_(block.layer_scale)
        nn.init.normal_(block.attention.gate.excite.weight)
    return model


def test_every_block_of_lkca_net_has_one_inner_width():
    inners = found(lkca())
    wide = [inner for inner in inners if inner.width == 32]
    assert [len(inner.cells) for inner in wide] == [4, 4]
    assert wide[0].name == "body.0.expand+body.0.attention.gate.excite+body.0.attention.fuse"
    assert widths(wide[0]) == [28, 24, 20, 16, 12, 8, 4]


def test_blocks_of_lkca_net_are_narrowed_and_come_back_from_a_file(tmp_path: Path):
    model, inputs = lkca(), tiles()
    inners = found(model)
    moments = moments_of(model, inners, inputs)
    chosen = {inner.name: inner.width * 3 // 4 for inner in inners if inner.width == 32}
    student, change = narrow(model, chosen, inners, moments)
    assert student.body[1].attention.near.weight.shape == (24, 1, 5, 5)
    assert student.body[1].attention.fuse.weight.shape == (24, 18, 1, 1)
    x = inputs[0]
    assert count(student, tuple(x.shape)).macs < count(model, tuple(x.shape)).macs
    bare, _ = narrow(model, chosen, inners)
    errors = [
        float((run(network, x) - run(model, x)).square().mean()) for network in (student, bare)
    ]
    assert errors[0] < errors[1]
    assert json.loads(json.dumps(change)) == change
    path = tmp_path / "narrow.safetensors"
    save_network(student, path)
    loaded = load_network(path).model
    assert changes_of(loaded) == [change]
    assert torch.equal(run(loaded, x), run(student, x))


@pytest.mark.parametrize(
    "wrong",
    [
        {"inputs": [4, 99]},
        {"outputs": [0, 6]},
        {"inputs": [4]},
        {"inputs": [4, True]},
        {"outputs": [15, 6]},
        {"inputs": [4, "8"]},
        {"layers": ["head", "nowhere"]},
    ],
)
def test_changes_that_do_not_fit_are_refused(wrong):
    model = network(groups=2)
    inner = within(model)
    _, change = narrow(model, {inner.name: 8}, [inner])
    broken = {**change, **wrong}
    fits = broken["layers"] == change["layers"] and wrong == {"outputs": [15, 6]}
    if not fits:  # the shapes of one layer alone are possible; the network then does not run
        with pytest.raises(ModelError):
            apply_changes(network(groups=2), [broken])


def test_widths_that_cannot_be_are_refused():
    model = network(groups=2)
    inner = within(model)
    for chosen in ({inner.name: 16}, {inner.name: 7}, {inner.name: 0}, {"block": 4}, {}):
        with pytest.raises(OptionError):
            narrow(model, chosen, [inner])


def test_a_network_without_inner_widths_says_so():
    model = nn.Sequential(nn.Conv2d(4, 16, 3, padding=1), nn.PixelShuffle(2))
    assert found(model) == []
    with pytest.raises(OptionError, match="no channels inside that can be left out"):
        narrow(model, {"0": 8}, [])
