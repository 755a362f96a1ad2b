"""Which channels inside a network can go, and which have to go together.

The network runs once and every tensor carries the names of its channels. A convolution or linear
layer gives its outputs new names; a depthwise convolution, an activation, a pool or a resize keeps
them; a concatenation lines them up; a sum or product of two tensors makes their names one. Whatever
else is done with a tensor (a reshape, a norm over channels, a pixel shuffle, attention, being the
network's output) pins its channels: they stay. So nothing is narrowed but what is known to treat
every channel by itself, and the finished network is held against one with zeros in the same places.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from edgesr.surgery.backbone import LEAST_SHARE, closed_modules
from edgesr.surgery.sites import Site, Watch, evaluating, watched
from edgesr.surgery.structure import Factorised, Geometry

_PINNED = 0
_LAYERS = re.compile("linear|conv(_transpose)?[23]d")
_ALIKE = re.compile(
    "(add|sub|mul|div|true_divide|neg|abs|pow|square|sqrt|exp|clamp|clip|where"
    "|relu|relu6|gelu|silu|mish|elu|selu|celu|leaky_relu|hardswish|hardsigmoid|hardtanh|softplus"
    "|sigmoid|tanh|clone|contiguous|detach|dropout)_?|__r?(add|sub|mul|truediv)__"
)
"""Functions that treat every element alike, whatever channel it is in."""

_IN_SPACE = re.compile("(adaptive_)?(avg|max)_pool[23]d|interpolate|pad")
"""Functions that treat every channel alike, and by itself."""

_ASKS = re.compile("__get__|size|dim|ndimension|numel|stride|is_[a-z_]+|get_device|__len__")
"""What a network may ask of a tensor without a look at its values."""


@dataclass(frozen=True)
class End:
    """A layer at which channels end or begin.

    For each input and output channel of the layer at ``path``: the number of the bunch of channels
    that it belongs to, -1 for one that stays.
    """

    path: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Inner:
    """An inner width: channels that nothing outside of ``ends`` knows of.

    Attributes:
        name: the layers whose outputs they are, joined by "+".
        ends: every layer that has them, in the order of the first call. Channels with the same
            number, 0 .. ``width`` - 1, go together.
        cells: runs of numbers of which equally many stay, as grouped convolutions want it; one
            where there are none.
        readers: the layers, other than depthwise, that read them.
        macs: of all layers in ``ends``, for the example.
        mac_share: of the whole network's.
    """

    name: str
    ends: tuple[End, ...]
    cells: tuple[tuple[int, ...], ...]
    readers: tuple[Site, ...]
    macs: int
    mac_share: float

    @property
    def width(self) -> int:
        """Channels that there are."""
        return sum(map(len, self.cells))


@torch.no_grad()
def find_inners(
    model: nn.Module, example: Tensor, *, least_share: float = LEAST_SHARE
) -> list[Inner]:
    """Inner widths that can be narrowed, in the order of their first layers; often none.

    Left out are those whose layers hold less than ``least_share`` of the network's MACs.

    Args:
        example: network input [N, B, h, w]; the model runs on it twice, and copies of it.

    Raises:
        ModelError: the network does not accept the example.
    """
    watch = watched(model, example)
    names = _Names(model, watch)
    with evaluating(model), names:
        names.pin(model(example))
    bunches: dict[int, list[tuple[str, str, int]]] = defaultdict(list)
    for path, sides in names.seen.items():
        for side, channels in sides.items():
            for place, channel in enumerate(channels):
                bunches[names.root(channel)].append((path, side, place))
    bunches.pop(_PINNED, None)
    families: dict[tuple[tuple[str, str], ...], list[int]] = defaultdict(list)
    for root, places in bunches.items():
        families[tuple((path, side) for path, side, _ in places)].append(root)
    found = [_inner(names, watch, roots) for roots in families.values()]
    return [inner for inner in found if inner is not None and inner.mac_share >= least_share]


def _inner(names: _Names, watch: Watch, roots: Sequence[int]) -> Inner | None:
    number = {root: index for index, root in enumerate(roots)}
    ends, cells = [], defaultdict(list)
    where: dict[int, list[int]] = {index: [] for index in range(len(roots))}
    for path, sides in names.seen.items():
        held = {
            side: tuple(number.get(names.root(channel), -1) for channel in channels)
            for side, channels in sides.items()
        }
        if all(index < 0 for channels in held.values() for index in channels):
            continue
        ends.append(End(path, held["inputs"], held["outputs"]))
        groups = Geometry.of(watch.layers[path]).groups
        for channels in held.values():
            for place, index in enumerate(channels):
                if index >= 0 and not depthwise(watch.layers[path]):
                    where[index].append(place * groups // len(channels))
    for index, places in where.items():
        cells[tuple(places)].append(index)
    if len({len(cell) for cell in cells.values()}) > 1:
        return None
    macs = sum(watch.macs[end.path] for end in ends)
    makers = [end for end in ends if not depthwise(watch.layers[end.path])]
    return Inner(
        name="+".join(end.path for end in makers if max(end.outputs) >= 0),
        ends=tuple(ends),
        cells=tuple(map(tuple, cells.values())),
        readers=tuple(watch.site([end.path]) for end in makers if max(end.inputs) >= 0),
        macs=macs,
        mac_share=macs / watch.total_macs,
    )


def depthwise(layer: nn.Module) -> bool:
    """Whether every channel of a convolution is made of itself alone."""
    geometry = Geometry.of(layer)
    return 1 < geometry.groups == geometry.in_channels == geometry.out_channels


class _Names(TorchFunctionMode):
    """Follows the names of channels, whole numbers, through a run of the network."""

    def __init__(self, model: nn.Module, watch: Watch) -> None:
        super().__init__()
        closed = closed_modules(model)
        self.paths: dict[Tensor, str] = WeakIdKeyDictionary()  # type: ignore[assignment]
        self.owners: dict[Tensor, str] = WeakIdKeyDictionary()  # type: ignore[assignment]
        for path, layer in watch.layers.items():
            parameters = dict(layer.named_parameters())
            for parameter in parameters.values():
                self.owners[parameter] = path
            if not isinstance(layer, Factorised) and layer not in closed and "weight" in parameters:
                self.paths[parameters["weight"]] = path
        self.layers = watch.layers
        self.seen: dict[str, dict[str, list[int]]] = {}
        self._parents = [_PINNED]
        self._channels = WeakIdKeyDictionary()  # tensor -> (axis from the right, names)

    def root(self, name: int) -> int:
        """The name that a name goes by."""
        while self._parents[name] != name:
            self._parents[name] = name = self._parents[self._parents[name]]
        return name

    def _join(self, one: Sequence[int], other: Sequence[int]) -> None:
        for first, second in zip(one, other, strict=True):
            low, high = sorted((self.root(first), self.root(second)))
            self._parents[high] = low  # the pinned one is the lowest

    def _new(self, count: int) -> list[int]:
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return list(range(start, start + count))

    def pin(self, value: Any) -> None:
        """Keep every channel of the tensors in ``value``, and the layers whose weights it holds."""
        for tensor in _tensors(value):
            if tensor in self._channels:
                names = self._channels[tensor][1]
                self._join(names, [_PINNED] * len(names))
            if tensor in self.owners:
                self._pin_layer(self.owners[tensor])

    def _pin_layer(self, path: str) -> None:
        geometry = Geometry.of(self.layers[path])
        sizes = {"inputs": geometry.in_channels, "outputs": geometry.out_channels}
        sides = self.seen.setdefault(path, {side: [_PINNED] * n for side, n in sizes.items()})
        for names in sides.values():
            self._join(names, [_PINNED] * len(names))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "").partition(".")[0]
        if _ASKS.fullmatch(name) and next(_tensors(result), None) is None:
            return result
        if _LAYERS.fullmatch(name):
            call = {**dict(zip(("input", "weight"), args, strict=False)), **kwargs}
            path = self.paths.get(call["weight"])
            names = None if path is None else self._call(path, call["input"])
        else:
            tensors = list(_tensors((args, kwargs)))
            for tensor in tensors:
                if tensor in self.owners:
                    self._pin_layer(self.owners[tensor])
            single = isinstance(result, Tensor)
            names = self._after(name, args, kwargs, tensors, result) if single else None
        if names:
            self._channels[result] = names
        else:
            self.pin((args, kwargs))
        return result

    def _after(
        self, name: str, args: Any, kwargs: Any, tensors: list[Tensor], result: Tensor
    ) -> tuple[int, list[int]] | None:
        """Axis, from the right, and names of the result's channels; None for what pins them."""
        if not any(tensor in self._channels for tensor in tensors):
            return None
        if name in ("cat", "concat", "concatenate"):
            return self._joined(tensors, kwargs.get("dim", args[1] if len(args) > 1 else 0))
        if _ALIKE.fullmatch(name):
            return self._alike(tensors, result)
        if _IN_SPACE.fullmatch(name):
            axis, names = self._channels.get(tensors[0], (0, []))
            padding = kwargs.get("pad", args[1] if len(args) > 1 else ()) if name == "pad" else ()
            inside = len(padding) < 2 * axis and result.ndim == tensors[0].ndim
            return (axis, names) if names and inside and axis > 1 else None
        return None

    def _call(self, path: str, source: Tensor) -> tuple[int, list[int]]:
        layer = self.layers[path]
        geometry = Geometry.of(layer)
        axis, names = self._channels.get(source, (0, []))
        expected = len(geometry.kernel) + 1
        if axis != expected:
            self.pin(source)
            names = [_PINNED] * geometry.in_channels
        if path not in self.seen:
            outputs = names if depthwise(layer) else self._new(geometry.out_channels)
            self.seen[path] = {"inputs": names, "outputs": outputs}
            fixed = geometry.groups in (geometry.in_channels, geometry.out_channels)
            if geometry.groups > 1 and fixed and not depthwise(layer):
                self._pin_layer(path)
        self._join(self.seen[path]["inputs"], names)
        return expected, self.seen[path]["outputs"]

    def _joined(self, tensors: list[Tensor], dim: int) -> tuple[int, list[int]] | None:
        axis = tensors[0].ndim - dim if dim >= 0 else -dim
        names: list[int] = []
        for tensor in tensors:
            place, own = self._channels.get(tensor, (axis, [_PINNED] * tensor.shape[-axis]))
            if place != axis:
                return None
            names += own
        return axis, names

    def _alike(self, tensors: list[Tensor], result: Tensor) -> tuple[int, list[int]] | None:
        known = [self._channels[tensor] for tensor in tensors if tensor in self._channels]
        axis = known[0][0]
        count = result.shape[-axis]
        common = next((names for place, names in known if len(names) == count), None)
        if common is None or any(place != axis for place, _ in known):
            return None
        for tensor in tensors:
            if tensor in self._channels:
                names = self._channels[tensor][1]
                if len(names) == count:
                    self._join(names, common)
                else:  # one channel for all
                    self.pin(tensor)
            elif tensor.ndim >= axis and tensor.shape[-axis] != 1:
                self._join(common, [_PINNED] * count)
        return axis, common


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors(entry)
