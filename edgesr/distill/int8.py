"""A network that computes as it will in int8, while its weights stay float and can be trained.

Each chosen layer rounds what it multiplies:

::

    x -- to int8 and back --+
                            +-- Conv, ConvTranspose or Linear -- y
    w -- to int8 and back --+

Weights have one scale per output channel and inputs one per tensor, zero points are 0, biases stay
float: what :mod:`edgesr_export.int8` writes for TensorRT. A gradient passes the rounding as if it
were not there, and is zero where a value was clipped (straight-through estimator; Jacob et al.,
2018, arXiv 1712.05877).

Ranges of inputs are not learned, since the export measures its own: by the same rule, which is
NNCF's, they are measured here. Three things of the export are not simulated: the scale of a
LayerNormalization within the next convolution, NNCF's correction of biases, and the 7 bits that it
gives the weights of the first layer.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from edgesr_export.int8.layers import Layer
from edgesr_export.targets import find_target
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgesr.errors import ModelError
from edgesr.evaluation.evaluate import inference

LARGEST = 127
LEAST_SCALE = float(torch.finfo(torch.float32).tiny) * 256  # far from where division overflows
CHILD = "int8_input"
"""Name of the rounding among a layer's modules: its scale belongs to every checkpoint."""

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (*CONVS, *TRANSPOSED, nn.Linear)


def int8_layers(model: nn.Module, tile: Tensor) -> list[str]:
    """Module paths of the layers that the export for TensorRT quantises.

    Those are all convolutions and linear layers that run, except the convolutions of gates, which
    see one position of pooled values, and groups of a width without an int8 kernel.

    Args:
        model: any network; left as it came.
        tile: real input [N, B, h, w] of more than one pixel.
    """
    gates: dict[str, bool] = {}

    def look(path: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs:
            gate = not isinstance(layer, nn.Linear) and math.prod(inputs[0].shape[2:]) == 1
            gates[path] = gate and gates.get(path, True)

    named = {path: layer for path, layer in model.named_modules() if isinstance(layer, LAYERS)}
    handles = [
        layer.register_forward_pre_hook(partial(look, path)) for path, layer in named.items()
    ]
    try:
        with inference(model):
            model(tile.to(_device(model)))
    finally:
        for handle in handles:
            handle.remove()
    scheme = find_target("tensorrt").scheme
    return [
        path
        for path, layer in named.items()
        if not gates.get(path, True) and not scheme.unfit(_as_exported(path, layer))
    ]


def layers_within(model: nn.Module, paths: Collection[str]) -> list[str]:
    """Module paths of all convolutions and linear layers at or below ``paths``.

    Raises:
        ModelError: the network has nothing at a path, or nothing of that kind.
    """
    found: dict[str, None] = {}
    for path in paths:
        try:
            part = model.get_submodule(path)
        except AttributeError:
            raise ModelError(
                f"the network has no layer {path!r} to quantise; give paths of its modules"
            ) from None
        inner = [name for name, layer in part.named_modules() if isinstance(layer, LAYERS)]
        if not inner:
            raise ModelError(
                f"{path!r} is a {type(part).__name__} without convolutions and linear layers; give"
                " paths of what int8 can compute"
            )
        found |= dict.fromkeys(f"{path}.{name}".strip(".") for name in inner)
    return list(found)


@contextmanager
def simulated_int8(
    model: nn.Module, layers: Collection[str], tiles: Sequence[Tensor]
) -> Iterator[Simulation]:
    """Within the block, ``model`` computes the layers of these paths in simulated int8.

    Args:
        model: any network; afterwards it is as it was, but for weights that were trained meanwhile.
        layers: module paths of convolutions and linear layers, as the functions above give them.
        tiles: inputs [N, B, h, w] that ranges are measured on, at least one.

    Raises:
        ModelError: no layer, one that does not run, or one with an input that is not finite.
    """
    if not layers:
        raise ModelError(
            "there is nothing to quantise: the network has no convolution or linear layer that int8"
            " can compute; leave it in float"
        )
    simulation = Simulation(model, tiles)
    try:
        for path in layers:
            simulation.roundings.append(_Rounded(path, model.get_submodule(path)))
        simulation.calibrate()
        yield simulation
    finally:
        for rounded in simulation.roundings:
            rounded.remove()


class Simulation:
    """The roundings that a network has for a while; made by :func:`simulated_int8`."""

    def __init__(self, model: nn.Module, tiles: Sequence[Tensor]) -> None:
        self.model, self.tiles = model, tiles
        self.roundings: list[_Rounded] = []

    def calibrate(self) -> None:
        """Measure the ranges of inputs anew, with the network's present weights and in float.

        The least and the greatest value of each tile are averaged over the tiles.

        Raises:
            ModelError: a layer does not run, or has an input that is not finite.
        """
        for rounded in self.roundings:
            rounded.pause()
        try:
            with inference(self.model):
                for tile in self.tiles:
                    self.model(tile.to(_device(self.model)))
                    for rounded in self.roundings:
                        rounded.end_tile()
        finally:
            for rounded in self.roundings:
                rounded.go_on()
        for rounded in self.roundings:
            rounded.take_ranges()


class InputRounding(nn.Module):
    """Symmetric int8 with one scale s: x -> s * clip(round(x / s), -128, 127)."""

    scale: Tensor
    zero: Tensor

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones((), device=device))
        zero = torch.zeros((), dtype=torch.int32, device=device)
        self.register_buffer("zero", zero, persistent=False)
        self.seen: list[Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.seen is not None:
            self.seen.append(torch.stack(torch.aminmax(x.detach())).float())
            return x
        return torch.fake_quantize_per_tensor_affine(
            x, self.scale, self.zero, -LARGEST - 1, LARGEST
        )


class WeightRounding(nn.Module):
    """Symmetric int8 between +-127, with the scales of the largest weights along ``axis``."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.active = True

    def scale(self, weight: Tensor) -> Tensor:
        """One scale a channel."""
        others = [axis for axis in range(weight.ndim) if axis != self.axis]
        return (weight.abs().amax(others) / LARGEST).clamp_min(LEAST_SCALE)

    def forward(self, weight: Tensor) -> Tensor:
        if not self.active:
            return weight
        scale = self.scale(weight.detach())
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(
            weight, scale, zero, self.axis, -LARGEST, LARGEST
        )


class PhaseRounding(nn.Module):
    """:class:`WeightRounding` of a transposed convolution that becomes a convolution in int8.

    See :mod:`edgesr_export.rewrite.transposed`: each of the r x r phases of an output channel is a
    channel of its own there, with its own scale. Gradients pass as they come: no weight is clipped.
    """

    places: Tensor

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        inputs, outputs, *taps = layer.weight.shape
        rate = layer.stride[0]
        self.count = layer.out_channels * rate**2
        group = torch.arange(inputs) // (inputs // layer.groups)
        channel = group[:, None] * outputs + torch.arange(outputs)
        rows, cols = (
            (torch.arange(size) * layer.dilation[axis] - int(layer.padding[axis])) % rate
            for axis, size in enumerate(taps)
        )
        phase = rows[:, None] * rate + cols
        places = channel[..., None, None] * rate**2 + phase
        self.register_buffer("places", places.to(layer.weight.device), persistent=False)
        self.active = True

    def scale(self, weight: Tensor) -> Tensor:
        """One scale a channel and phase."""
        largest = weight.new_zeros(self.count)
        largest = largest.scatter_reduce(0, self.places.flatten(), weight.abs().flatten(), "amax")
        return (largest / LARGEST).clamp_min(LEAST_SCALE)

    def forward(self, weight: Tensor) -> Tensor:
        if not self.active:
            return weight
        scale = self.scale(weight.detach())[self.places]
        rounded = (weight.detach() / scale).round().clamp(-LARGEST, LARGEST) * scale
        return weight + (rounded - weight.detach())


def _rounding(layer: nn.Module) -> WeightRounding | PhaseRounding:
    """That of a layer's weights, as the files have it."""
    if isinstance(layer, nn.ConvTranspose2d) and layer.stride[0] == layer.stride[1]:
        lengths = {
            layer.output_padding[axis]
            + layer.dilation[axis] * (layer.kernel_size[axis] - 1)
            + 1
            - 2 * int(layer.padding[axis])
            for axis in range(2)
        }
        if lengths == {layer.stride[0]}:  # the output is the input times the stride
            return PhaseRounding(layer)
    return WeightRounding(1 if isinstance(layer, TRANSPOSED) else 0)


class _Rounded:
    """A layer with its two roundings."""

    def __init__(self, path: str, layer: nn.Module) -> None:
        self.path, self.layer = path, layer
        self.order = list(layer._parameters)
        self.ranges: list[Tensor] = []
        self.weight = _rounding(layer)
        self.input = InputRounding(_device(layer))
        layer.add_module(CHILD, self.input)
        self.handles = [layer.register_forward_pre_hook(self._round_input)]
        self.parametrised = parametrize.is_parametrized(layer, "weight")
        # else a hook computes it right before the call, as that of the older weight_norm
        self.stored = self.parametrised or "weight" in layer._parameters
        if self.stored:
            parametrize.register_parametrization(layer, "weight", self.weight)
        else:
            self.handles.append(layer.register_forward_pre_hook(self._round_weight))

    def pause(self) -> None:
        """Round nothing, and note the range of every input."""
        self.ranges, self.input.seen, self.weight.active = [], [], False

    def end_tile(self) -> None:
        """Note one range for all calls of the layer on a tile."""
        if self.input.seen:
            low, high = torch.stack(self.input.seen).unbind(1)
            self.ranges.append(torch.stack((low.amin(), high.amax())))
            self.input.seen.clear()

    def go_on(self) -> None:
        """Round again."""
        self.input.seen, self.weight.active = None, True

    def take_ranges(self) -> None:
        """Let the scale span the mean of the ranges."""
        if not self.ranges:
            raise ModelError(
                f"layer {self.path!r} does not run, so that it cannot be quantised; leave it out"
            )
        largest = torch.stack(self.ranges).mean(0).abs().amax()
        if not largest.isfinite():
            raise ModelError(
                f"layer {self.path!r} gets values that are not finite; use other weights or data"
            )
        self.input.scale.copy_((largest / LARGEST).clamp_min(LEAST_SCALE))

    def remove(self) -> None:
        """Leave the layer as it came."""
        for handle in self.handles:
            handle.remove()
        delattr(self.layer, CHILD)
        if self.parametrised:
            del self.layer.parametrizations["weight"][-1]  # type: ignore[union-attr, index]
        elif self.stored:
            parametrize.remove_parametrizations(self.layer, "weight", leave_parametrized=False)
            for name in self.order:  # the weight came back as the last
                value = self.layer._parameters.pop(name)
                self.layer.register_parameter(name, value)

    def _round_input(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return (self.input(inputs[0]), *inputs[1:]) if inputs else None

    def _round_weight(self, layer: nn.Module, _: tuple[Any, ...]) -> None:
        layer.weight = self.weight(layer.weight)


def _device(model: nn.Module) -> torch.device:
    return next((weight.device for weight in model.parameters()), torch.device("cpu"))


def _as_exported(path: str, layer: nn.Module) -> Layer:
    operator = "Conv" if isinstance(layer, CONVS) else type(layer).__name__
    shape = tuple(layer.weight.shape)  # type: ignore[arg-type]
    return Layer(path, operator, shape, int(getattr(layer, "groups", 1)))
