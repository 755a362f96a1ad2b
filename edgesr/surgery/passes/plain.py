"""The exact pass ``plain``: a convolution in the author's own writing becomes a layer of PyTorch.

A change holds the ``geometry`` of that convolution, since a fresh network does not show it:

- ``{"pass": "plain", "site": path, "layers": [path], "geometry": {...}}``: the module at ``path``
  is nothing but the convolution, and a layer takes its place;
- ``{..., "layers": [caller, holder], "weight": name, "bias": name or None, "child": name}``: the
  module at ``caller`` convolves with parameters of the module at ``holder`` (often the same one),
  which move into a layer ``holder.child``; see :mod:`edgesr.surgery.hoist`.

:func:`edgesr.loading.functional_convs.make_plain` finds such convolutions and fills the layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from edgesr.surgery.hoist import hoist
from edgesr.surgery.passes._base import Pass
from edgesr.surgery.registry import register
from edgesr.surgery.structure import Geometry


def geometry_entry(geometry: Geometry) -> dict[str, Any]:
    """A geometry as a change holds it: JSON-able, without device and type."""
    values = {field.name: getattr(geometry, field.name) for field in fields(geometry)}
    del values["device"], values["dtype"]
    return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}


@register
class Plain(Pass):
    """The pass of this file."""

    name, title = "plain", "plain layer"

    def shape(self, change: Mapping[str, Any], layers: list[nn.Module]) -> list[nn.Module]:
        holder = layers[-1]
        real = (p for p in holder.parameters() if p.is_floating_point())  # others may be complex
        owned = next(real, torch.empty(0))
        held: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in change["geometry"].items()
        }
        geometry = Geometry(**held, device=owned.device, dtype=owned.dtype)
        layer = geometry.build(
            geometry.in_channels, geometry.out_channels, geometry.groups, geometry.bias
        )
        if "child" not in change:
            return [layer]
        layer.train(holder.training)
        hoist(layers[0], holder, change["weight"], change["bias"], change["child"], layer)
        return layers
