"""The shapes that surgery gives to a network: replacement layers, and where they go.

A *change* is a JSON-able dictionary, ``{"pass": "grouped", "site": name, "layers": [paths],
"groups": g}`` or ``{"pass": "lowrank", ..., "rank": R}``; :func:`shape` adds a pass.
:func:`apply_changes` turns an original network into the structure that a list of changes describes,
without their weights, so that a state dict saved after surgery loads into it. The passes fill the
same structure with weights.
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

Change = dict[str, Any]
Shape = Callable[[Mapping[str, Any], list[nn.Module]], list[nn.Module]]
_shapes: dict[str, Shape] = {}
_RECORD = "edgesr_surgery"  # an attribute that no third-party class has
_MISFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
_CONVOLUTIONS = nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d


def shape(name: str) -> Callable[[Shape], Shape]:
    """Register how pass ``name`` reshapes layers: from a change and the layers that it names to
    as many zeroed replacements, which may be the layers themselves, altered in place.
    """

    def remember(function: Shape) -> Shape:
        _shapes[name] = function
        return function

    return remember


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
        if isinstance(layer, FACTORISED):
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


class FactorisedConv(nn.Module):
    """A convolution of rank R: ``reduce`` is k x k from C_in to R, ``expand`` 1 x 1 to C_out."""

    def __init__(self, geometry: Geometry, rank: int) -> None:
        super().__init__()
        self.geometry = geometry
        self.reduce = geometry.build(geometry.in_channels, rank, 1, bias=False)
        self.expand = geometry.pointwise(rank, geometry.out_channels, bias=geometry.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, C_in, *] -> [N, C_out, *]."""
        return self.expand(self.reduce(x))


class FactorisedLinear(FactorisedConv):
    """A linear layer of rank R: ``reduce`` from C_in to R, ``expand`` to C_out, on [*, C_in]."""


class TuckerConv(nn.Module):
    """A convolution in Tucker-2 form.

    ``reduce`` is 1 x 1 from C_in to R_in, ``core`` k x k to R_out with the stride, padding and
    dilation, ``expand`` 1 x 1 to C_out. Without a bias ``reduce`` commutes with every padding
    mode, so the border is as exact as the rest.
    """

    def __init__(self, geometry: Geometry, rank_in: int, rank_out: int) -> None:
        super().__init__()
        self.geometry = geometry
        self.reduce = geometry.pointwise(geometry.in_channels, rank_in, bias=False)
        self.core = geometry.build(rank_in, rank_out, 1, bias=False)
        self.expand = geometry.pointwise(rank_out, geometry.out_channels, bias=geometry.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, C_in, *] -> [N, C_out, *]."""
        return self.expand(self.core(self.reduce(x)))


class FactorisedTransposed(nn.Module):
    """A transposed convolution of rank R: ``reduce`` is 1 x 1 from C_in to R, ``expand`` k x k.

    Layers that read the same input may share the factor: all but the first are given the first
    one's ``reduce``. They refer to it without registering it, so that the state dict, the
    parameter count and the optimiser hold it once. It runs once a layer in PyTorch; the ONNX
    exporter's common-subexpression elimination merges the equal nodes into one.
    """

    def __init__(self, geometry: Geometry, rank: int, shared: nn.Module | None = None) -> None:
        super().__init__()
        self.geometry = geometry
        if shared is None:
            self.reduce = geometry.pointwise(geometry.in_channels, rank, bias=False)
        self._shared = () if shared is None else (shared,)
        self.expand = geometry.build(rank, geometry.out_channels, 1, bias=geometry.bias)

    @property
    def factor(self) -> nn.Module:
        """The 1 x 1 convolution in use, own or shared."""
        return self._shared[0] if self._shared else self.reduce

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """``x`` [N, C_in, h, w] -> [N, C_out, H, W]."""
        return self.expand(self.factor(x), output_size)


FACTORISED = (FactorisedConv, TuckerConv, FactorisedTransposed)


class Skip(nn.Module):
    """What is left of a removed block: passes its first argument on."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``x`` [*] -> the same."""
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
    if name not in _shapes:
        raise ModelError(
            f"surgery pass {name!r} is unknown: expected one of {', '.join(sorted(_shapes))} "
            "(weights written by a newer version need that version)"
        )
    return _shapes[name](change, layers)


@shape("grouped")
def _grouped(change: Mapping[str, Any], layers: list[nn.Module]) -> list[nn.Module]:
    groups = positive(change, "groups")
    geometries = [Geometry.of(layer) for layer in layers]
    for geometry in geometries:
        if geometry.in_channels % groups or geometry.out_channels % groups:
            raise ModelError(
                f"{groups} groups do not divide the {geometry.in_channels} input and "
                f"{geometry.out_channels} output channels of {change['site']!r}: "
                "choose a common divisor"
            )
    return [g.build(g.in_channels, g.out_channels, groups, g.bias) for g in geometries]


@shape("lowrank")
def _lowrank(change: Mapping[str, Any], layers: list[nn.Module]) -> list[nn.Module]:
    rank = positive(change, "rank")
    geometries = [Geometry.of(layer) for layer in layers]
    if not geometries[0].transposed:
        kind = FactorisedConv if geometries[0].kernel else FactorisedLinear
        return [kind(geometry, rank) for geometry in geometries]
    first = FactorisedTransposed(geometries[0], rank)
    return [first, *(FactorisedTransposed(g, rank, shared=first.reduce) for g in geometries[1:])]


@shape("tucker")
def _tucker(change: Mapping[str, Any], layers: list[nn.Module]) -> list[nn.Module]:
    ranks = positive(change, "rank_in"), positive(change, "rank_out")
    geometries = [Geometry.of(layer) for layer in layers]
    for geometry in geometries:
        if geometry.transposed or not geometry.kernel:
            raise ModelError(
                f"{change['site']!r} is no convolution that has a Tucker-2 form: "
                "check that the weights and the network belong together"
            )
    return [TuckerConv(geometry, *ranks) for geometry in geometries]


@shape("remove")
def _remove(change: Mapping[str, Any], layers: list[nn.Module]) -> list[nn.Module]:
    return [Skip() for _ in layers]


def positive(change: Mapping[str, Any], key: str) -> int:
    """The whole number from 1 that a change holds under ``key``."""
    value = change[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelError(f"{key} of {change['site']!r} must be a whole number from 1, got {value}")
    return value


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
