"""Quick ways of slow calls give what torch gives; whatever they do not know stays torch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgesr.distill.quick import _OTHERS, QuickCalls
from edgesr.models import create_model

ORDERS = {"planes": torch.contiguous_format, "bands last": torch.channels_last}
in_both_orders = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)


@pytest.fixture
def taken(monkeypatch) -> list[bool]:
    """Whether each call in a block went another way."""
    found: list[bool] = []

    def watched(other):
        def call(*args, **kwargs):
            result = other(*args, **kwargs)
            found.append(result is not None)
            return result

        return call

    for func, other in list(_OTHERS.items()):
        monkeypatch.setitem(_OTHERS, func, watched(other))
    return found


def images(*shape: int, order: torch.memory_format) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(memory_format=order)


def same(quick: Tensor, plain: Tensor) -> None:
    torch.testing.assert_close(quick, plain, rtol=0, atol=2e-6)
    assert quick.stride() == plain.stride()


@in_both_orders
@pytest.mark.parametrize(
    "options",
    [
        {"scale_factor": 4},
        {"size": (18, 36)},
        {"size": (3, 6), "antialias": True},
        {"size": (2, 3), "antialias": False},
    ],
    ids=str,
)
def test_bicubic_interpolation(taken, order, options):
    image = images(2, 5, 6, 12, order=order)
    options = {"mode": "bicubic", "align_corners": False, **options}
    plain = F.interpolate(image, **options)
    with QuickCalls(), torch.autocast("cpu", torch.bfloat16):
        same(F.interpolate(image, **options), plain)
    assert taken == [True]


@pytest.mark.parametrize(
    "options",
    [
        {"scale_factor": 2, "mode": "bilinear"},
        {"scale_factor": 2, "mode": "bicubic", "align_corners": True},
        {"scale_factor": 1.5, "mode": "bicubic"},
        {"size": (9, 12), "mode": "bicubic"},
        {"size": (600, 600), "mode": "bicubic"},
    ],
    ids=str,
)
def test_other_interpolation_is_torchs(taken, options):
    image = images(1, 2, 6, 6, order=torch.contiguous_format)
    with QuickCalls():
        quick = F.interpolate(image, **options)
    assert torch.equal(quick, F.interpolate(image, **options))
    assert taken == [False]


def test_images_of_few_digits_are_torchs(taken):
    image = images(1, 2, 6, 6, order=torch.contiguous_format).bfloat16()
    with QuickCalls():
        quick = F.interpolate(image, scale_factor=2, mode="bicubic")
    assert torch.equal(quick, F.interpolate(image, scale_factor=2, mode="bicubic"))
    assert taken == [False]


@in_both_orders
@pytest.mark.parametrize(("kernel", "dilation"), [(5, 1), (7, 3), (3, 2), ((3, 5), 2)])
@pytest.mark.parametrize("sides", [(12, 12), (7, 10), (2, 3)], ids=str)
def test_depthwise_convolutions_and_their_gradients(taken, order, kernel, dilation, sides):
    torch.manual_seed(0)
    kernels = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = tuple(dilation * (side // 2) for side in kernels)
    layer = nn.Conv2d(4, 4, kernel, padding=padding, dilation=dilation, groups=4)
    layer = layer.to(memory_format=order)
    image = images(2, 4, *sides, order=order).requires_grad_()

    def outcome() -> tuple[Tensor, ...]:
        made = layer(image)
        upstream = torch.linspace(-1, 1, made.numel()).view(made.shape)
        return made, *torch.autograd.grad((made * upstream).sum(), [image, *layer.parameters()])

    plain = outcome()
    with QuickCalls():
        quick = outcome()
    assert taken == [True]
    same(quick[0], plain[0])
    torch.testing.assert_close(quick, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 8, 3, padding=1, groups=4),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(4, 4, 3, padding=1, stride=2, groups=4),
        nn.Conv2d(4, 4, 4, padding=3, dilation=2, groups=4),
        nn.Conv2d(4, 4, 3, padding="same", groups=4),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, padding_mode="reflect"),
    ],
    ids=str,
)
def test_other_convolutions_are_torchs(taken, layer):
    image = images(2, 4, 9, 9, order=torch.contiguous_format)
    plain = layer(image)
    with QuickCalls():
        assert torch.equal(layer(image), plain)
    assert taken == [False]


def test_a_network_in_mixed_precision_keeps_its_types_and_nearly_its_values():
    network = create_model("lkca_net", bands=3, scale=2, blocks=2, channels=16)
    network = network.to(memory_format=torch.channels_last)
    types: list[torch.dtype] = []
    network.body[0].attention.far.register_forward_hook(lambda _, __, y: types.append(y.dtype))
    lr = images(2, 3, 8, 8, order=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        plain = network(lr)
        with QuickCalls():
            quick = network(lr)
    assert types == [torch.bfloat16] * 2
    assert quick.dtype == plain.dtype
    torch.testing.assert_close(quick, plain, rtol=0, atol=1e-2)


def test_a_network_in_double_precision_stays_there():
    network = create_model("lkca_net", bands=3, scale=2, blocks=2, channels=16).double()
    lr = images(2, 3, 8, 8, order=torch.contiguous_format).double()
    plain = network(lr)
    with QuickCalls():
        torch.testing.assert_close(network(lr), plain, rtol=1e-12, atol=1e-12)
