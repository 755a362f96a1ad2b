"""Narrower blocks: fewer channels inside, and the layers that read them fitted to those left.

Which channels can go, and which go together, :mod:`edgesr.surgery.coupling` finds. Kept are those
from which the outputs of the layers behind are best made again. A layer with the windows S of its
input and the matrix W loses, when the columns J of a channel join those that are kept,

    tr(W R_:J R_JJ^-1 R_J: W^T)

less of its output's energy, where R is what the kept columns K leave unexplained of S,
R = S - S_:K S_KK^-1 S_K:. So channels are taken one by one, each time the one that explains most
(where several layers read them, their shares of energy are weighted by their MACs); of grouped
convolutions every group gets equally many. The layers behind then are the least-squares fit
W S_:K S_KK^-1, bias included. Every layer is fitted on the features of the original.

Source: He et al., "Channel Pruning for Accelerating Very Deep Neural Networks", 2017, arXiv
1707.06168; Luo et al., "ThiNet", 2017, arXiv 1707.06342. There channels are chosen by LASSO, or
greedily for one sum of the next layer's inputs; here greedily with the fit itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgesr.errors import ModelError, OptionError
from edgesr.surgery.backbone import LEAST_SHARE
from edgesr.surgery.calibrate import Moments
from edgesr.surgery.coupling import Inner, depthwise, find_inners
from edgesr.surgery.layers import (
    assign,
    bias_of,
    dense_weight,
    diagonal_weight,
    has_own_bias,
    phases,
    taps,
    to_windows,
)
from edgesr.surgery.least_squares import fit_groups
from edgesr.surgery.passes._base import WidthPass
from edgesr.surgery.registry import register
from edgesr.surgery.sites import Site, evaluating
from edgesr.surgery.structure import Change, Geometry, apply_changes, clone

_MISFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
_TOLERANCE = 1e-4
"""Of the check that a narrowed network acts like one with zeros; relative to the largest output."""


@dataclass(frozen=True)
class Order:
    """The channels of an inner width, most wanted first, and what is lost without the rest.

    Entry n of ``lost`` is the share of the energy of the layers behind that is lost when n + 1
    channels of every cell stay.
    """

    channels: tuple[int, ...]
    lost: tuple[float, ...]


def find_widths(
    model: nn.Module, example: Tensor, *, least_share: float = LEAST_SHARE
) -> list[Inner]:
    """Inner widths of a network that can be narrowed; often none.

    See :func:`edgesr.surgery.coupling.find_inners`, of which those are left out with which a
    narrowed copy fails to act like the network with zeros instead of the missing channels.
    """
    found = find_inners(model, example, least_share=least_share)
    if not found or _acts_alike(model, found, example):
        return found
    return [inner for inner in found if _acts_alike(model, [inner], example)]


def widths(inner: Inner) -> list[int]:
    """Widths below its own that it can have, from large to small."""
    cells = len(inner.cells)
    return list(range(inner.width - cells, 0, -cells))


def narrow(
    model: nn.Module,
    chosen: Mapping[str, int],
    inners: Sequence[Inner],
    moments: Mapping[str, Moments] | None = None,
    *,
    orders: Mapping[str, Order] | None = None,
) -> tuple[nn.Module, Change]:
    """A copy of ``model`` with fewer channels inside, and the change that was made.

    Args:
        chosen: width by the name of an inner width.
        inners: what :func:`find_widths` found in the model.
        moments: of the real input of all their ``readers``, from
            :func:`edgesr.surgery.calibrate.all_moments`; None for the best in weight space.
        orders: from :func:`order_channels`, by name; saves ordering anew for each width.

    Raises:
        OptionError: a width that is none of :func:`widths`, or of no inner width.
    """
    return Width().apply(model, chosen, inners, moments, orders=orders)


@register
class Width(WidthPass[Order]):
    """The pass of this file."""

    name, title, setting, order = "width", "narrower", "width", 50

    def shape(self, change: Mapping[str, Any], layers: list[nn.Module]) -> list[nn.Module]:
        sides = zip(layers, change["inputs"], change["outputs"], strict=True)
        return [_shape(change, layer, *widths) for layer, *widths in sides]

    def find(self, model: nn.Module, example: Tensor) -> list[Inner]:
        return find_widths(model, example)

    def prepare(
        self, model: nn.Module, inner: Inner, moments: Mapping[str, Moments] | None
    ) -> Order:
        return order_channels(model, inner, moments)

    @torch.no_grad()
    def apply(
        self,
        model: nn.Module,
        chosen: Mapping[str, int],
        inners: Sequence[Inner],
        moments: Mapping[str, Moments] | None = None,
        *,
        orders: Mapping[str, Order] | None = None,
    ) -> tuple[nn.Module, Change]:
        if not inners:
            raise OptionError(
                f"a {type(model).__name__} has no channels inside that can be left out (a norm over"
                " channels, a reshape or the output sees them all): use another pass"
            )
        known = {inner.name: inner for inner in inners}
        for name, width in chosen.items():
            if name not in known:
                raise OptionError(f"{name!r} is no inner width: choose from {list(known)}")
            if width not in widths(known[name]):
                raise OptionError(
                    f"{name!r} cannot have {width} channels: choose from {widths(known[name])}"
                )
        if not chosen:
            raise OptionError("nothing is to be narrowed: give at least one inner width")
        orders = orders or {name: self.prepare(model, known[name], moments) for name in chosen}
        kept = {name: set(orders[name].channels[:width]) for name, width in chosen.items()}
        sides = _sides(model, [known[name] for name in chosen], kept)
        change = _change([*chosen], sides)
        student = apply_changes(clone(model), [change])
        for path, (inputs, outputs) in sides.items():
            old, new = model.get_submodule(path), student.get_submodule(path)
            _fill(new, old, inputs, outputs, moments.get(path) if moments else None)
        return student, change


def _shape(change: Mapping[str, Any], layer: nn.Module, inputs: int, outputs: int) -> nn.Module:
    geometry = Geometry.of(layer)
    groups = outputs if depthwise(layer) else geometry.groups
    fits = inputs <= geometry.in_channels and outputs <= geometry.out_channels
    if not fits or min(inputs, outputs) < 1 or inputs % groups or outputs % groups:
        raise ModelError(
            f"a layer of {change['site']!r:.200} with {geometry.in_channels} input and"
            f" {geometry.out_channels} output channels in {geometry.groups} groups cannot have"
            f" {inputs} and {outputs}: check that the weights and the network belong together"
        )
    return geometry.build(inputs, outputs, groups, geometry.bias)


def _change(names: Sequence[str], sides: Mapping[str, tuple[Tensor, Tensor]]) -> Change:
    return {
        "pass": Width.name,
        "site": "+".join(names),
        "layers": list(sides),
        "inputs": [len(inputs) for inputs, _ in sides.values()],
        "outputs": [len(outputs) for _, outputs in sides.values()],
    }


def _sides(
    model: nn.Module, inners: Sequence[Inner], kept: Mapping[str, set[int]]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Places of the input and output channels that every layer keeps, by path."""
    masks: dict[str, tuple[Tensor, Tensor]] = {}
    for inner in inners:
        for end in inner.ends:
            stays = tuple(
                torch.tensor([index < 0 or index in kept[inner.name] for index in side])
                for side in (end.inputs, end.outputs)
            )
            before = masks.get(end.path, stays)
            masks[end.path] = (before[0] & stays[0], before[1] & stays[1])
    return {
        path: (inputs.nonzero().flatten(), outputs.nonzero().flatten())
        for path, (inputs, outputs) in masks.items()
    }


def _columns(channels: Tensor, geometry: Geometry) -> Tensor:
    """Places in a window of the values of some input channels."""
    window = math.prod(taps(geometry))
    return (channels[:, None] * window + torch.arange(window)).flatten()


def _fill(
    new: nn.Module, old: nn.Module, inputs: Tensor, outputs: Tensor, moments: Moments | None
) -> None:
    geometry, bias = Geometry.of(old), bias_of(old)
    matrix = to_windows(dense_weight(old), geometry)
    wanted = matrix.reshape(phases(geometry), geometry.out_channels, -1)[:, outputs]
    fitted, bias = wanted, None if bias is None else bias[outputs]
    if moments and len(inputs) < geometry.in_channels and not depthwise(old):
        reads = torch.zeros(geometry.in_channels, dtype=torch.bool)
        reads[inputs] = True
        second = moments.regularised(centred=has_own_bias(old))
        fitted = fit_groups(wanted, geometry, geometry.groups, second, reads)
        if bias is not None:
            lost = (wanted - fitted).flatten(0, 1)
            bias = bias + moments.bias_shift(lost, phases(geometry))
    kept = fitted[..., _columns(inputs, geometry)].flatten(0, 1)
    built = Geometry.of(new)
    assign(new.weight, diagonal_weight(kept, built, built.groups))
    if bias is not None:
        assign(new.bias, bias)


def order_channels(
    model: nn.Module, inner: Inner, moments: Mapping[str, Moments] | None = None
) -> Order:
    """The channels of an inner width in the order in which they are best kept.

    Equally many of every cell are among the first n * cells, for every n. ``moments`` as for
    :func:`narrow`.
    """
    inside = {end.path for end in inner.ends if max(end.outputs) >= 0}
    behind = [site for site in inner.readers if site.name not in inside] or list(inner.readers)
    readers = [_Reader(model, inner, site, moments) for site in behind]
    weights = torch.tensor([float(site.macs) for site in behind], dtype=torch.float64)
    weights = weights / weights.sum()
    channels: list[int] = []
    lost: list[float] = []
    for _ in range(len(inner.cells[0])):
        for cell in inner.cells:
            left = [index for index in cell if index not in channels]
            gains = sum(w * reader.gains(left) for w, reader in zip(weights, readers, strict=True))
            best = left[int(cast(Tensor, gains).argmax())]
            for reader in readers:
                reader.take(best)
            channels.append(best)
        parts = [w * reader.lost() for w, reader in zip(weights, readers, strict=True)]
        lost.append(float(sum(parts)))
    return Order(tuple(channels), tuple(lost))


class _Reader:
    """What the channels that are kept leave unexplained of a layer's output."""

    def __init__(
        self, model: nn.Module, inner: Inner, site: Site, moments: Mapping[str, Moments] | None
    ) -> None:
        layer = model.get_submodule(site.layers[0])
        geometry = Geometry.of(layer)
        self.matrix = to_windows(dense_weight(layer), geometry)
        if moments is None:
            self.rest = torch.eye(self.matrix.shape[1], dtype=self.matrix.dtype)
        else:
            self.rest = moments[site.name].regularised(centred=has_own_bias(layer))
        self.whole = self._energy()
        inputs = torch.tensor(next(end.inputs for end in inner.ends if end.path == site.name))
        places = inputs.argsort(stable=True)[int((inputs < 0).sum()) :]
        self.columns = torch.stack(
            [_columns(own, geometry) for own in places.reshape(inner.width, -1)]
        )
        staying = _columns((inputs < 0).nonzero().flatten(), geometry)
        if len(staying):
            self._explain(staying)

    def _energy(self) -> float:
        return float(((self.matrix @ self.rest) * self.matrix).sum())

    def lost(self) -> float:
        """Share of the output's energy."""
        return max(0.0, self._energy() / self.whole) if self.whole > 0 else 0.0

    def gains(self, left: Sequence[int]) -> Tensor:
        """The share that each of the channels ``left`` would explain."""
        columns = self.columns[left]
        seen = (self.matrix @ self.rest)[:, columns].transpose(0, 1)  # [left, C_out, m]
        blocks = self.rest[columns[:, :, None], columns[:, None, :]]
        solved = torch.linalg.solve(blocks, seen.transpose(1, 2))
        return (solved * seen.transpose(1, 2)).sum((1, 2)) / (self.whole or 1.0)

    def take(self, channel: int) -> None:
        """Keep a channel."""
        self._explain(self.columns[channel])

    def _explain(self, columns: Tensor) -> None:
        part = self.rest[:, columns]
        self.rest = self.rest - part @ torch.linalg.solve(part[columns], part.T)
        # what is explained is zero up to rounding, and must not be divided by
        self.rest[columns] = 0
        self.rest[:, columns] = 0


def _acts_alike(model: nn.Module, inners: Sequence[Inner], example: Tensor) -> bool:
    """Whether a copy that lacks every other channel acts like one whose layers do not read them."""
    kept = {
        inner.name: {index for cell in inner.cells for index in cell[: max(1, len(cell) // 2)]}
        for inner in inners
    }
    sides = _sides(model, inners, kept)
    try:
        narrowed = apply_changes(clone(model), [_change(list(kept), sides)])
        masked = clone(model)
        for path, (inputs, outputs) in sides.items():
            old, new = model.get_submodule(path), narrowed.get_submodule(path)
            whole = masked.get_submodule(path)
            _fill(new, old, inputs, outputs, None)
            if not depthwise(old):
                assign(whole.weight, _reading(old, inputs))
        with evaluating(narrowed), evaluating(masked):
            results = [_flat(network(example)) for network in (narrowed, masked)]
    except (ModelError, *_MISFIT):
        return False
    difference = (results[0] - results[1]).abs().max()
    return bool(difference <= _TOLERANCE * results[1].abs().max())


def _reading(layer: nn.Module, inputs: Tensor) -> Tensor:
    """The weight of a layer that reads these inputs alone."""
    geometry = Geometry.of(layer)
    matrix = to_windows(dense_weight(layer), geometry)
    only = torch.zeros_like(matrix)
    columns = _columns(inputs, geometry)
    only[:, columns] = matrix[:, columns]
    return diagonal_weight(only, geometry, geometry.groups)


def _flat(output: Tensor | Sequence[Tensor]) -> Tensor:
    return (output if isinstance(output, Tensor) else output[0]).double().flatten()
