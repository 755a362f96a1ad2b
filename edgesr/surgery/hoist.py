"""Give a functional convolution a layer of its own, without touching the author's ``forward``.

A network that calls ``F.conv2d(x, self.weight, ...)`` keeps its code; while the module that makes
the call runs, the call goes to a layer that holds the weight. A placeholder without memory stays
under the parameter's name, so that the call can be told and the shape be read.

This file needs torch alone: the loader beside a student carries its text.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

FUNCTIONALS = (F.conv2d, F.conv3d, F.conv_transpose2d, F.conv_transpose3d)


class Redirect(TorchFunctionMode):
    """Sends functional convolutions by a hoisted weight to the layer that now holds it."""

    def __init__(self, hoisted: list[tuple[nn.Module, str, str]]) -> None:
        super().__init__()
        self.hoisted = hoisted

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = {**dict(zip(("input", "weight"), args, strict=False)), **(kwargs or {})}
        for holder, weight, child in self.hoisted if func in FUNCTIONALS else ():
            if call.get("weight") is getattr(holder, weight):
                return getattr(holder, child)(call["input"])
        return func(*args, **(kwargs or {}))


def redirected(kind: type[nn.Module]) -> type[nn.Module]:
    """A subclass, of the same name, whose ``forward`` runs with :class:`Redirect`."""

    @wraps(kind.forward)  # exporters read the signature
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        with Redirect(self.hoisted):
            return kind.forward(self, *args, **kwargs)

    return type(kind.__name__, (kind,), {"__module__": kind.__module__, "forward": forward})


def hoist(
    caller: Any, holder: nn.Module, weight: str, bias: str | None, child: str, layer: nn.Module
) -> None:
    """Let ``layer``, from now on ``holder.child``, do the convolution that ``caller`` makes.

    ``weight`` and ``bias`` name the parameters of ``holder`` that the call has used so far.
    """
    for name in (weight, bias) if bias else (weight,):
        parameter = holder.get_parameter(name)
        delattr(holder, name)
        empty = torch.zeros((), dtype=parameter.dtype, device=parameter.device)
        holder.register_buffer(name, empty.expand(parameter.shape), persistent=False)
    holder.add_module(child, layer)
    if "hoisted" not in vars(caller):
        caller.__class__ = redirected(type(caller))
        caller.hoisted = []
    caller.hoisted.append((holder, weight, child))
