"""The layers of the backbone that factors can make smaller."""

from __future__ import annotations

from torch import Tensor, nn

from edgesr.surgery.sites import Site, watched
from edgesr.surgery.structure import Geometry

LEAST_SHARE = 0.001
"""Share of the network's MACs below which a layer is not worth an operation. Deep networks have
many small layers of equal shape: each of 48 in LKCA-Net holds 0.4 % or less."""

_CLOSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
"""Modules that read the weights of their own layers, and so need them to be where they were."""


def closed_modules(model: nn.Module) -> set[nn.Module]:
    """Modules that have to stay as they are, since another reads their weights."""
    return {
        child
        for module in model.modules()
        if isinstance(module, _CLOSED)
        for child in module.modules()
    }


def find_layers(
    model: nn.Module, example: Tensor, *, least_share: float = LEAST_SHARE
) -> list[Site]:
    """Convolutions and linear layers besides the upsamplers, in the order of their first call.

    Each is a :class:`Site` of kind "conv" or "linear", scale 1 and one path; one that is called
    several times is one, with the MACs of all calls. Left out are what holds less than
    ``least_share`` of the MACs (such as channel attention behind a pool, where two layers for one
    would cost more time than they save), depthwise convolutions (nothing to factor), transposed
    ones, and the insides of torch's own attention layers.

    Args:
        example: network input [N, B, h, w]; the model runs once and is left as it was.

    Raises:
        ModelError: the network does not accept the example.
    """
    watch = watched(model, example)
    closed = closed_modules(model)
    upsamplers = {path for group in watch.found() for path in group}
    sites = [
        watch.site([path])
        for path in watch.macs
        if path not in upsamplers and watch.layers[path] not in closed
    ]
    return [
        site
        for site in sites
        if not Geometry.of(watch.layers[site.name]).transposed
        and not 1 < site.groups == site.in_channels
        and site.mac_share >= least_share
    ]
