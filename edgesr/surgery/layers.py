"""What a convolution computes, whatever holds its weights.

:func:`dense_weight` gives the weights that act, with weight norm, groups and factors multiplied
out. :func:`to_windows` writes every kind of layer as one matrix that acts on *windows* of its
input, so that closed forms need no second version for transposed convolutions:

- convolution: a window is the k x k patch under the kernel, the matrix [C_out, C_in*k*k];
- transposed convolution of stride s: each of the s*s output phases is a convolution with
  t x t taps, t = ceil(k / s), so a window is a t x t patch of the input and the matrix is
  [s*s*C_out, C_in*t*t] (three axes alike, each with its own stride). Its output before
  ``padding`` crops the border is then exactly one product of that matrix with a window a position.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from edgesr.surgery.structure import Factorised, Geometry

COLUMNS_A_BLOCK = 4096
"""Windows that are held unfolded at once."""


@torch.no_grad()
def dense_weight(layer: nn.Module) -> Tensor:
    """Acting weights in float64 on the CPU.

    Shape [C_out, C_in, *kernel] for a convolution (a linear layer has no kernel axes),
    [C_in, C_out, *kernel] for a transposed one, groups as zero blocks. Weight norm and other
    parametrisations are evaluated.
    """
    if isinstance(layer, Factorised):
        return layer.dense(dense_weight)
    weight = _acting_weight(layer).detach().to("cpu", torch.float64)
    geometry = Geometry.of(layer)
    if geometry.groups == 1:
        return weight
    rows, cols = len(weight) // geometry.groups, weight.shape[1]
    dense = weight.new_zeros(len(weight), cols * geometry.groups, *geometry.kernel)
    for i in range(geometry.groups):
        block = slice(i * rows, (i + 1) * rows)
        dense[block, i * cols : (i + 1) * cols] = weight[block]
    return dense


def _acting_weight(layer: nn.Module) -> Tensor:
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm):
            return hook.compute_weight(layer)
        if isinstance(hook, SpectralNorm):
            return hook.compute_weight(layer, do_power_iteration=False)
    return cast(Tensor, layer.weight)


def bias_of(layer: nn.Module) -> Tensor | None:
    """Bias [C_out] in float64 on the CPU, None without one."""
    while isinstance(layer, Factorised):
        layer = layer.expand
    bias = layer.bias
    return bias.detach().to("cpu", torch.float64) if isinstance(bias, Tensor) else None


def has_own_bias(layer: nn.Module) -> bool:
    """Whether each row of the window matrix has a bias of its own, which may carry its mean.

    The phases of a transposed convolution share one.
    """
    return bias_of(layer) is not None and phases(Geometry.of(layer)) == 1


def assign(parameter: Tensor | nn.Module, values: Tensor) -> None:
    """Write ``values`` into a parameter of as many elements, in the parameter's type."""
    if not isinstance(parameter, nn.Parameter):
        raise TypeError(f"expected a parameter, got {type(parameter).__name__}")
    parameter.data.copy_(values.reshape(parameter.shape))


def taps(geometry: Geometry) -> tuple[int, ...]:
    """Extent of a window along each spatial axis."""
    if not geometry.transposed:
        return geometry.kernel
    return tuple(
        math.ceil(extent / stride)
        for extent, stride in zip(_extent(geometry), geometry.stride, strict=True)
    )


def _extent(geometry: Geometry) -> tuple[int, ...]:
    return tuple((k - 1) * d + 1 for k, d in zip(geometry.kernel, geometry.dilation, strict=True))


def phases(geometry: Geometry) -> int:
    """Outputs that one window yields for every channel."""
    return math.prod(geometry.stride) if geometry.transposed else 1


def to_windows(weight: Tensor, geometry: Geometry) -> Tensor:
    """Dense weights as a matrix [phases * C_out, C_in * taps] that acts on windows."""
    if not geometry.transposed:
        return weight.flatten(1)
    sides = list(zip(taps(geometry), geometry.stride, strict=True))
    inputs, outputs = weight.shape[:2]
    grid = weight.new_zeros(inputs, outputs, *(t * s for t, s in sides))
    grid[_kernel_elements(geometry)] = weight
    # tap m of phase f is kernel element f + s*m and reads the input m places before the newest
    grid = grid.reshape(inputs, outputs, *(length for side in sides for length in side))
    tap_axes, phase_axes = range(2, grid.ndim, 2), range(3, grid.ndim, 2)
    grid = grid.flip(*tap_axes).permute(*phase_axes, 1, 0, *tap_axes)
    return grid.reshape(phases(geometry) * outputs, -1)


def _kernel_elements(geometry: Geometry) -> tuple[slice, ...]:
    """Where the kernel lies in a grid [C_in, C_out, *] of as many taps for every phase."""
    spans = zip(_extent(geometry), geometry.dilation, strict=True)
    return (slice(None), slice(None), *(slice(0, extent, step) for extent, step in spans))


def from_windows(matrix: Tensor, geometry: Geometry) -> Tensor:
    """Inverse of :func:`to_windows`; the number of input channels is free."""
    if not geometry.transposed:
        return matrix.reshape(matrix.shape[0], -1, *geometry.kernel)
    axes, sizes = len(geometry.stride), taps(geometry)
    outputs = matrix.shape[0] // phases(geometry)
    inputs = matrix.shape[1] // math.prod(sizes)
    grid = matrix.reshape(*geometry.stride, outputs, inputs, *sizes)
    pairs = [axis for i in range(axes) for axis in (axes + 2 + i, i)]
    grid = grid.permute(axes + 1, axes, *pairs).flip(*range(2, 2 + 2 * axes, 2))
    lengths = [t * s for t, s in zip(sizes, geometry.stride, strict=True)]
    grid = grid.reshape(inputs, outputs, *lengths)
    return grid[_kernel_elements(geometry)].contiguous()


def diagonal_weight(matrix: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """The weight with ``groups`` groups of a window matrix whose blocks on the diagonal count."""
    blocks = from_windows(matrix, geometry).chunk(groups)
    width = blocks[0].shape[1] // groups
    return torch.cat([block[:, i * width : (i + 1) * width] for i, block in enumerate(blocks)])


def tap_patterns(geometry: Geometry) -> list[tuple[Tensor, Tensor]]:
    """Phases that use the same taps: pairs (phase indices, used taps as bool [taps])."""
    if not geometry.transposed:
        return [(torch.tensor([0]), torch.ones(math.prod(geometry.kernel), dtype=torch.bool))]
    used = to_windows(torch.ones(1, 1, *geometry.kernel), geometry) > 0
    patterns, index = torch.unique(used, dim=0, return_inverse=True)
    return [
        (torch.nonzero(index == i).flatten(), pattern)
        for i, pattern in enumerate(patterns)
        if pattern.any()
    ]


def windows(x: Tensor, geometry: Geometry) -> Iterator[Tensor]:
    """Windows of the layer's input ``x`` [N, C_in, *], as blocks [positions, C_in * taps].

    The input of a linear layer is [*, C_in], and each of its vectors a window.
    """
    if not geometry.kernel:
        yield from x.reshape(-1, geometry.in_channels).split(COLUMNS_A_BLOCK)
        return
    size = taps(geometry)
    dilation = (1,) * len(size) if geometry.transposed else geometry.dilation
    stride = (1,) * len(size) if geometry.transposed else geometry.stride
    mode = "constant" if geometry.padding_mode == "zeros" else geometry.padding_mode
    view = F.pad(x, _padding(geometry), mode=mode)
    for axis, (t, s, d) in enumerate(zip(size, stride, dilation, strict=True)):
        view = view.unfold(axis + 2, (t - 1) * d + 1, s)[..., ::d]
    axes = len(size)
    view = view.movedim(1, axes + 1)  # [N, *positions, C_in, *taps]
    features = math.prod(view.shape[axes + 1 :])
    an_image = math.prod(view.shape[1 : axes + 1])
    if an_image <= COLUMNS_A_BLOCK:
        blocks = view.split(COLUMNS_A_BLOCK // max(1, an_image))
    else:
        rows = max(1, COLUMNS_A_BLOCK * len(view[0]) // an_image)
        blocks = tuple(block for image in view for block in image.split(rows))
    for block in blocks:
        yield block.reshape(-1, features)


def _padding(geometry: Geometry) -> list[int]:
    """Padding of the input in the order of ``F.pad``: last axis first, before and after."""
    sides: list[tuple[int, int]]
    if geometry.transposed:
        sides = [(t - 1, t - 1) for t in taps(geometry)]
    elif geometry.padding == "valid":
        sides = [(0, 0)] * len(geometry.kernel)
    elif isinstance(geometry.padding, str):
        total = [extent - 1 for extent in _extent(geometry)]
        sides = [(t // 2, t - t // 2) for t in total]
    else:
        sides = [(p, p) for p in geometry.padding]
    return [side for pair in reversed(sides) for side in pair]
