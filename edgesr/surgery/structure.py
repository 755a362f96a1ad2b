"""The shapes that surgery gives to a network: replacement layers, and where they go.

A *change* is a JSON-able dictionary, ``{"pass": name, "site": name, "layers": [paths], ...}``; the
rest is the pass's own, such as ``"rank": R``. :func:`apply_changes` turns an original network into
the structure that a list of changes describes, without their weights, so that a state dict saved
after surgery loads into it. The passes fill the same structure with weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from edgesr.errors import ModelError, brief
from edgesr.surgery.registry import PASSES

Change = dict[str, Any]
_RECORD = "edgesr_surgery"  # an attribute that no third-party class has
_MISFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
_CONVOLUTIONS = nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d


@dataclass(frozen=True)
class Geometry:
    """Everything about a convolution but its weights; a linear layer has no spatial axes."""

    transposed: bool
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str
    bias: bool
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, layer: nn.Module) -> Geometry:
        """Geometry of a convolution or linear layer, or of the one that factors stand for."""
        if isinstance(layer, Factorised):
            return layer.geometry
        if not isinstance(layer, _CONVOLUTIONS | nn.Linear):
            raise ModelError(
                "only convolutions and linear layers can be replaced, got "
                f"{type(layer).__name__}: check that the weights and the network belong together"
            )
        parameter = next(layer.parameters())
        if isinstance(layer, nn.Linear):
            return cls(
                transposed=False,
                in_channels=layer.in_features,
                out_channels=layer.out_features,
                kernel=(),
                stride=(),
                padding=(),
                output_padding=(),
                dilation=(),
                groups=1,
                padding_mode="zeros",
                bias=layer.bias is not None,
                device=parameter.device,
                dtype=parameter.dtype,
            )
        return cls(
            transposed=isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d),
            in_channels=layer.in_channels,
            out_channels=layer.out_channels,
            kernel=tuple(layer.kernel_size),
            stride=tuple(layer.stride),
            padding=layer.padding if isinstance(layer.padding, str) else tuple(layer.padding),
            output_padding=tuple(layer.output_padding),
            dilation=tuple(layer.dilation),
            groups=layer.groups,
            padding_mode=layer.padding_mode,
            bias=layer.bias is not None,
            device=parameter.device,
            dtype=parameter.dtype,
        )

    def build(self, in_channels: int, out_channels: int, groups: int, bias: bool) -> nn.Module:
        """A zeroed convolution of this kernel, stride and padding."""
        if not self.kernel:
            return self.pointwise(in_channels, out_channels, bias)
        options: dict[str, Any] = {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": groups,
            "bias": bias,
            "padding_mode": self.padding_mode,
        }
        if self.transposed:
            kinds: dict[int, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
            options["output_padding"] = self.output_padding
        else:
            kinds = {2: nn.Conv2d, 3: nn.Conv3d}
        kind = kinds[len(self.kernel)]
        return self._zeroed(kind, in_channels, out_channels, self.kernel, **options)

    def pointwise(self, in_channels: int, out_channels: int, bias: bool) -> nn.Module:
        """A zeroed 1 x 1 convolution with as many spatial axes; a linear layer for none."""
        if not self.kernel:
            return self._zeroed(nn.Linear, in_channels, out_channels, bias=bias)
        kind = {2: nn.Conv2d, 3: nn.Conv3d}[len(self.kernel)]
        return self._zeroed(kind, in_channels, out_channels, 1, bias=bias)

    def _zeroed(self, kind: type[nn.Module], *args: Any, **options: Any) -> nn.Module:
        # skip_init draws no random numbers: surgery must not move the generator of a training run
        layer = skip_init(kind, *args, device=self.device, dtype=self.dtype, **options)
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
        return layer


class Factorised(nn.Module):
    """Several layers in the place of one, which they stand for: the base of what passes put there.

    Its children are convolutions or linear layers; the last that runs is called ``expand`` and
    holds the bias. Where :meth:`forward` is not overridden, they run in order.
    """

    expand: nn.Module

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry

    def factors(self) -> tuple[nn.Module, ...]:
        """The layers that run, in order."""
        return tuple(self.children())

    def dense(self, weight: Callable[[nn.Module], Tensor]) -> Tensor:
        """The weights of the one layer that acts alike, as
        :func:`edgesr.surgery.layers.dense_weight` has them; ``weight`` gives those of a factor.
        Needed to operate on the result once more.
        """
        raise ModelError(
            f"a {type(self).__name__} cannot be operated on: its pass does not say how"
        )

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, C_in, *] -> [N, C_out, *]."""
        for layer in self.children():
            x = layer(x)
        return x


def clone(model: nn.Module) -> nn.Module:
    """A deep copy that shares nothing with ``model``; also copies hook-based weight norm."""
    computed = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return copy.deepcopy(model, computed)


def skeleton(model: nn.Module) -> nn.Module:
    """A copy of ``model`` with the shapes of its tensors alone: changing it takes no memory."""
    bare: dict[int, Any] = {
        id(value): value.detach().to("meta")
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor)
    }
    bare |= {id(value): value.to("meta") for value in model.buffers()}
    for value in model.parameters():
        bare[id(value)] = nn.Parameter(value.detach().to("meta"), value.requires_grad)
    return copy.deepcopy(model, bare)


def changes_of(model: nn.Module) -> list[Change]:
    """Return the changes that were made to a network so far, in order."""
    return list(vars(model).get(_RECORD, []))


def apply_changes(model: nn.Module, changes: Iterable[Mapping[str, Any]]) -> nn.Module:
    """Swap the layers that ``changes`` name for zeroed replacements, in order and in place.

    Returns the model (the replacement itself where the changed layer *is* the model), of which
    :func:`changes_of` then lists the changes made so far. Raises :class:`ModelError` for a change
    that does not fit the model.
    """
    for change in changes:
        try:
            paths = list(change["layers"])
            layers = [model.get_submodule(path) for path in paths]
            replacements = _replacements(change, layers)
        except _MISFIT as error:
            raise ModelError(
                f"the recorded surgery {dict(change)!r:.200} does not fit this network "
                f"({brief(error)}): check that the weights and the network belong together"
            ) from error
        done = [*changes_of(model), dict(change)]
        for path, old, new in zip(paths, layers, replacements, strict=True):
            new.train(old.training)
            if path == "":  # what is known of the network (its factory) stays known
                known = {k: v for k, v in vars(model).items() if k.startswith("edgesr_")}
                vars(new).update(known)
                model = new
            swap(model, old, new)
        vars(model)[_RECORD] = done
    return model


def _replacements(change: Mapping[str, Any], layers: list[nn.Module]) -> list[nn.Module]:
    name = change["pass"]
    try:
        found = PASSES[name]
    except KeyError as error:
        raise ModelError(
            f"surgery pass {name!r} is unknown here, where there are {', '.join(PASSES)}: install"
            f" the package that adds {name!r} (entry point of edgesr.passes), or update edgesr"
        ) from error
    return found.shape(change, layers)


def positive(change: Mapping[str, Any], key: str) -> int:
    """The whole number from 1 that a change holds under ``key``."""
    value = change[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelError(f"{key} of {change['site']!r} must be a whole number from 1, got {value}")
    return value


def lies_in(path: str, other: str) -> bool:
    """Whether the module at ``path`` is the one at ``other``, or inside it."""
    return path == other or path.startswith(f"{other}.")


def swap(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Replace ``old`` under every name that it is registered by."""
    places = [
        (parent, name)
        for parent in model.modules()
        for name, child in parent._modules.items()
        if child is old
    ]
    for parent, name in places:
        setattr(parent, name, new)
