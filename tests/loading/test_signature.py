"""Every third-party network answers ``model(x)`` as its own author would get it."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from third_party import BANDS, MULTIPLE, SCALE, THIRD_PARTY, as_author
from torch import nn

from edgesr.errors import ModelError
from edgesr.loading.infer_signature import find_call
from edgesr.loading.signature import Call, adapt, call_of
from edgesr.surgery.structure import clone

PLAIN = {
    *THIRD_PARTY.keys() - MULTIPLE.keys(),
} - {"lapsrn", "conv3d", "dict_output", "scale_argument", "sspsr", "msdformer"}


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    return THIRD_PARTY[name]().eval()


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


EXAMPLE = image(1, BANDS, 16, 16)


@pytest.mark.parametrize("name", THIRD_PARTY)
@torch.no_grad()
def test_adapted_it_gives_what_its_author_gets(name):
    theirs, model = built(name), built(name)
    model.load_state_dict(theirs.state_dict())
    keys, paths = list(model.state_dict()), dict(model.named_modules())
    call, scale = find_call(model, EXAMPLE)
    adapted = adapt(model, call)
    assert scale == SCALE[name]
    assert call.plain == (name in PLAIN)
    assert call.multiple == MULTIPLE.get(name, 1)
    assert adapted is model
    assert isinstance(model, type(theirs))
    assert type(model).__name__ == type(theirs).__name__
    assert list(model.state_dict()) == keys
    assert dict(model.named_modules()) == paths
    copy = clone(model)
    for size in ((16, 16), (13, 11), (9, 17)):
        x = image(2, BANDS, *size)
        expected = as_author(name, theirs, x)
        assert expected.shape == (2, BANDS, size[0] * scale, size[1] * scale)
        assert torch.equal(model(x), expected)
        assert torch.equal(copy(x), expected)


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_who_is_called_plainly_is_left_alone(name):
    model = built(name)
    call, _ = find_call(model, EXAMPLE)
    before, own = dict(vars(model)), type(model)
    adapt(model, call)
    assert type(model) is own
    assert vars(model) == before
    assert call_of(model) is None


@pytest.mark.parametrize("name", THIRD_PARTY)
def test_gradients_reach_the_weights(name):
    model = built(name).train()
    call, scale = find_call(model, EXAMPLE)
    assert model.training
    answer = adapt(model, call)(image(2, BANDS, 8, 8))
    assert answer.shape == (2, BANDS, 8 * scale, 8 * scale)
    answer.square().mean().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("name", sorted(THIRD_PARTY.keys() - PLAIN))
def test_a_call_travels_as_json(name):
    call, _ = find_call(built(name), EXAMPLE)
    assert Call.from_dict(json.loads(json.dumps(call.to_dict()))) == call


@pytest.mark.parametrize(
    "change",
    [{"scale": 1}, {"scale": "2"}, {"further": {"x": "gift"}}, {"more": 1}, {"further": 3}],
)
def test_what_is_no_call_is_refused(change):
    with pytest.raises(ModelError, match="for how a network is called"):
        Call.from_dict({**Call(scale=2).to_dict(), **change})


def test_adapting_twice_replaces_the_call():
    theirs, model = built("lapsrn"), built("lapsrn")
    adapt(model, Call(scale=2, output=0))
    adapt(model, Call(scale=4, output=1))
    with torch.no_grad():
        assert torch.equal(model(EXAMPLE), theirs(EXAMPLE)[1])
    assert type(model).__mro__[1] is type(theirs)
    plain = Call(scale=4)
    assert call_of(adapt(model, plain)) == plain


class Network(nn.Module):
    """Nearest neighbour, as ``answer`` gives it."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


def nearest(x: torch.Tensor, scale: int = 2) -> torch.Tensor:
    return F.interpolate(x, scale_factor=scale, mode="nearest")


def needs(multiple: int):
    def answer(x):
        assert x.shape[2] % multiple == 0
        assert x.shape[3] % multiple == 0
        return nearest(x)

    return answer


@pytest.mark.parametrize("multiple", [1, 2, 3, 4, 5, 6, 7, 8, 12, 14, 16, 24, 32, 64])
def test_the_multiple_that_a_network_needs_is_found(multiple):
    call, _ = find_call(Network(needs(multiple)), EXAMPLE)
    assert call == Call(scale=2, multiple=multiple)


def test_silent_cropping_is_a_need_for_padding():
    """Four-fold windows that drop what does not fill one: no error, but another size."""
    model = Network(lambda x: nearest(x[..., : x.shape[2] // 4 * 4, : x.shape[3] // 4 * 4]))
    assert find_call(model, EXAMPLE)[0].multiple == 4


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    multiple=st.integers(1, 17),
    scale=st.integers(2, 4),
)
def test_padding_repeats_the_edge_and_leaves_no_trace(height, width, multiple, scale):
    seen = []

    def forward(x):
        seen.append(x)
        return nearest(x, scale)

    x = torch.rand(1, 2, height, width)
    answer = Call(scale=scale, multiple=multiple).run(forward, x)
    assert torch.equal(answer, nearest(x, scale))
    (padded,) = seen
    rows = torch.arange(-(-height // multiple) * multiple).clamp(max=height - 1)
    columns = torch.arange(-(-width // multiple) * multiple).clamp(max=width - 1)
    assert torch.equal(padded, x[:, :, rows][..., columns])


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        (lambda x: (nearest(x), nearest(x, 4)), 1),
        (lambda x: [nearest(x), nearest(x) * 2], 1),
        (lambda x: (nearest(x), nearest(x) * 2), 0),
        (lambda x: (None, x.mean(), nearest(x)), 2),
        (lambda x: {"loss": x.mean(), "pred": nearest(x), "aux": nearest(x)}, "pred"),
        (lambda x: {"aux": nearest(x), "loss": 3.0}, "aux"),
    ],
)
def test_the_image_among_several_outputs(answer, output):
    assert find_call(Network(answer), EXAMPLE)[0].output == output


def test_a_known_scale_chooses_the_output():
    model = Network(lambda x: [nearest(x), nearest(x, 4)])
    assert find_call(model, EXAMPLE)[0] == Call(scale=4, output=1)
    assert find_call(model, EXAMPLE, 2)[0] == Call(scale=2, output=0)


def test_an_option_is_used_where_the_plain_call_gives_another_scale():
    class Optional(nn.Module):
        def forward(self, x, mask=None, upscale_factor=2.0):
            return F.interpolate(x, scale_factor=upscale_factor, mode="nearest")

    assert find_call(Optional(), EXAMPLE, 2)[0].plain
    call, scale = find_call(Optional(), EXAMPLE, 4)
    assert (call.further, scale) == ((("upscale_factor", "int"),), 4)


def test_a_scale_tensor_and_a_declared_scale():
    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = 3

        def forward(self, x, *, r):
            return nearest(x, int(r.item()))

    assert find_call(Learned(), EXAMPLE)[0] == Call(scale=3, further=(("r", "tensor"),))


def test_a_network_on_the_enlarged_image():
    """SRCNN's way; only where the scale is known, since any would do."""
    model = Network(lambda x: x * 2)
    call, _ = find_call(model, EXAMPLE, 2)
    assert call == Call(scale=2, enlarged=True)
    with pytest.raises(ModelError, match=r"turns \[1, 6, 16, 16\] into \[1, 6, 16, 16\], not a"):
        find_call(model, EXAMPLE)


def test_who_writes_into_its_image_is_given_a_copy():
    def answer(x):
        x -= 0.5
        return nearest(x)

    model, x = Network(answer), EXAMPLE.clone()
    adapt(model, find_call(model, x)[0])
    assert call_of(model) == Call(scale=2, copy=True)
    assert torch.equal(model(x), nearest(EXAMPLE - 0.5))
    assert torch.equal(x, EXAMPLE)


@pytest.mark.parametrize(
    "answer",
    [lambda x: nearest(x.view(1, *x.shape[1:])), lambda x: nearest(x.view(1, BANDS, 16, 16))],
)
def test_a_network_for_one_image_is_refused(answer):
    with pytest.raises(ModelError, match=r"takes one image at a time; .* take any \[N, 6, h, w\]"):
        find_call(Network(answer), EXAMPLE)


@pytest.mark.parametrize("side", [8, 16, 20, 48, 128])
def test_a_network_for_one_size_is_given_tiles(side):
    model = Network(lambda x: nearest(x + torch.zeros(1, 1, side, side)))
    assert find_call(model, EXAMPLE) == (Call(scale=2, side=side), 2)
    x = image(1, BANDS, 33, 150)
    adapt(model, Call(scale=2, side=side))
    torch.testing.assert_close(model(x), nearest(x))


def test_a_class_may_call_itself_in_its_own_manner():
    class Ensemble(nn.Module):
        def forward(self, x, lms, flip=True):
            if flip:
                return self(x.flip(-1), lms.flip(-1), flip=False).flip(-1)
            return nearest(x) + lms

    model = Ensemble()
    adapt(model, find_call(model, EXAMPLE)[0])
    theirs = nearest(EXAMPLE) + F.interpolate(EXAMPLE, scale_factor=2, mode="bicubic")
    torch.testing.assert_close(model(EXAMPLE), theirs)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda x: 1 / 0, "does not run on a tile .*ZeroDivisionError: division by zero"),
        (lambda x: nn.Conv2d(5, 1, 1)(x), "does not run on a tile .*expected input"),
        (lambda x: nearest(x)[:, :3], r"into \[1, 3, 32, 32\], not a larger image of as many"),
        (lambda x: "nothing", "into str, not a larger"),
        (lambda x: (x, x), r"into tuple \[1, 6, 16, 16\], \[1, 6, 16, 16\], not"),
    ],
)
def test_what_fits_no_call_is_refused_in_one_line(answer, reason):
    with pytest.raises(ModelError, match=reason) as refusal:
        find_call(Network(answer), EXAMPLE)
    assert "tried the calls (x)" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_wrong_scale_is_refused_with_what_came_back():
    model = Network(lambda x: nearest(x, 4))
    with pytest.raises(ModelError, match=r"into \[1, 6, 64, 64\], not \[1, 6, 32, 32\].*--scale"):
        find_call(model, EXAMPLE, 2)


@torch.no_grad()
def test_an_adapted_network_can_be_exported():
    model = built("msdformer")
    adapt(model, find_call(model, EXAMPLE)[0])
    x = image(1, BANDS, 12, 10)
    program = torch.export.export(model, (x,), strict=False)
    torch.testing.assert_close(program.module()(x), model(x))
