"""Find the learnable upsamplers of any network, by watching it run once.

Found are convolutions (2-D or 3-D) whose output reaches a pixel shuffle, module or functional,
also through operations that keep the shape (activation, normalisation, sum); convolutions that
directly follow an interpolation to a larger size; and ``ConvTranspose2d`` with a stride above 1.
Transposed convolutions of equal shape that read the same tensor are one site. Scales are whole
numbers, equal along both axes. A bicubic residual beside the network is no site. Layers that
override ``forward`` are left alone, since their weights may not act as they stand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from torch.utils.weak import WeakIdKeyDictionary

from edgesr.errors import ModelError
from edgesr.surgery.structure import FactorisedConv, FactorisedTransposed, Geometry

_PLAIN = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
_FACTORISED = (FactorisedConv, FactorisedTransposed)
_MIXING = re.compile("conv|linear|mm|matmul|einsum|attention|pool|interpolate|upsample")


@dataclass(frozen=True)
class Site:
    """One learnable upsampler.

    ``layers`` are the module paths; more than one when parallel layers share their input.
    ``out_channels``, ``params`` and ``macs`` are sums over the layers. ``macs`` are the
    multiply-accumulates of the example that :func:`find_sites` was given, ``positions`` how often
    each weight of the dense layer is used in them. The shares are of the whole network (MACs: in
    convolutions, matrix products and attention).
    """

    name: str
    layers: tuple[str, ...]
    kind: str
    scale: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    in_channels: int
    out_channels: int
    groups: int
    params: int
    macs: int
    param_share: float
    mac_share: float
    bias: bool
    positions: int

    @property
    def rows(self) -> int:
        """Rows of the matrix whose rank counts (see :mod:`edgesr.surgery.spectrum`)."""
        taps = math.prod(self.kernel) if self.kind == "transposed" else 1
        return self.out_channels * taps

    @property
    def cols(self) -> int:
        """Columns of the matrix whose rank counts."""
        taps = 1 if self.kind == "transposed" else math.prod(self.kernel)
        return self.in_channels * taps

    @property
    def max_rank(self) -> int:
        """Rank above which a factorisation can gain nothing."""
        return min(self.rows, self.cols)


def find_sites(model: nn.Module, example: Tensor) -> list[Site]:
    """Upsamplers in the order in which they run on ``example`` [N, B, h, w]; may be empty.

    The model runs once in evaluation mode without gradients and is left as it was. Raises
    :class:`ModelError` when it does not accept the example.
    """
    watch = _Watch(model)
    counter = FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION)
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(evaluating(model))
        stack.enter_context(watch.hooks())
        stack.enter_context(counter)
        stack.enter_context(watch)
        try:
            model(example)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise ModelError(
                f"the network does not run on an input of shape {tuple(example.shape)} "
                f"({reason}): check the band count and the patch size"
            ) from error
    total_params = sum(parameter.numel() for parameter in model.parameters())
    total_macs = counter.get_total_flops() // 2
    return [watch.site(group, total_params, total_macs) for group in watch.found()]


def require_sites(model: nn.Module, example: Tensor) -> list[Site]:
    """Like :func:`find_sites`, with a :class:`ModelError` where there is none."""
    sites = find_sites(model, example)
    if not sites:
        raise ModelError(
            f"{type(model).__name__} has no learnable upsampler (convolution before a pixel "
            "shuffle or after a resize, or ConvTranspose2d with stride above 1): "
            "there is nothing to compress"
        )
    return sites


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within the context; afterwards every module has its own mode again."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


def _cpu_attention_flops(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any
) -> int:
    return sdpa_flop_count(query, key, value)


_CPU_ATTENTION: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _cpu_attention_flops
}


def _is_layer(module: nn.Module) -> bool:
    if isinstance(module, _FACTORISED):
        return True
    return any(isinstance(module, k) and type(module).forward is k.forward for k in _PLAIN)


def _without_ones(tensor: Tensor) -> list[int]:
    return [extent for extent in tensor.shape if extent != 1]


def _whole_scale(before: Tensor, after: Tensor) -> int:
    """Factor by which the last two axes grew, 0 when it is not one whole number above 1."""
    if before.ndim < 4 or before.ndim != after.ndim:
        return 0
    (h, w), (height, width) = before.shape[-2:], after.shape[-2:]
    scale = height // h
    return scale if scale > 1 and (h * scale, w * scale) == (height, width) else 0


class _Watch(TorchFunctionMode):
    """Follows tensors from convolutions to pixel shuffles and from resizes to convolutions."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        inside = {
            child
            for module in model.modules()
            if isinstance(module, _FACTORISED)
            for child in module.modules()
            if child is not module
        }
        self.layers = {
            path: module
            for path, module in model.named_modules()
            if _is_layer(module) and module not in inside
        }
        self.scales: dict[str, tuple[str, int]] = {}
        self.macs: dict[str, int] = {}
        self.inputs: dict[str, Tensor] = {}
        self.positions: dict[str, int] = {}
        self._calls = 0
        self._origin = WeakIdKeyDictionary()  # tensor -> (call number, path of the convolution)
        self._resized = WeakIdKeyDictionary()  # tensor -> scale of the interpolation

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor):
            return result
        tensors = [a for a in (*args, *(kwargs or {}).values()) if isinstance(a, Tensor)]
        name = getattr(func, "__name__", "")
        if not tensors:
            return result
        if name == "pixel_shuffle":
            self._shuffled(tensors[0], result)
        elif name == "interpolate":
            scale = _whole_scale(tensors[0], result)
            if scale:
                self._resized[result] = scale
        elif name == "pad" and tensors[0] in self._resized:
            self._resized[result] = self._resized[tensors[0]]
        elif not _MIXING.search(name):
            self._pass_on(tensors, result)
        return result

    def _shuffled(self, source: Tensor, result: Tensor) -> None:
        if source in self._origin:
            _, path = self._origin[source]
            self.scales[path] = ("subpixel", result.shape[-1] // source.shape[-1])

    def _pass_on(self, tensors: list[Tensor], result: Tensor) -> None:
        shape = _without_ones(result)
        alike = [tensor for tensor in tensors if _without_ones(tensor) == shape]
        origins = [self._origin[tensor] for tensor in alike if tensor in self._origin]
        if origins:
            self._origin[result] = max(origins)
        if len(tensors) == 1 and alike and tensors[0] in self._resized:
            self._resized[result] = self._resized[tensors[0]]

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Report every call of a layer while the context lasts."""
        handles = [
            module.register_forward_hook(self._observer(path))
            for path, module in self.layers.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _observer(self, path: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def observe(layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if not args or not isinstance(output, Tensor):
                return
            source, geometry = args[0], Geometry.of(layer)
            positions = (source if geometry.transposed else output).numel() // (
                geometry.in_channels if geometry.transposed else geometry.out_channels
            )
            self.positions[path] = self.positions.get(path, 0) + positions
            self.macs[path] = self.macs.get(path, 0) + positions * _weights(layer)
            self._calls += 1
            self._origin[output] = (self._calls, path)
            self._resized.pop(output, None)
            if geometry.transposed:
                if len(set(geometry.stride)) == 1 and geometry.stride[0] > 1:
                    self.inputs[path] = source
                    self.scales[path] = ("transposed", geometry.stride[0])
            elif source in self._resized and set(geometry.stride) == {1}:
                self.scales.setdefault(path, ("resize", self._resized[source]))

        return observe

    def found(self) -> list[list[str]]:
        """Paths of upsamplers in the order of their first call, parallel ones together."""
        groups: list[list[str]] = []
        for path in self.macs:
            if path not in self.scales:
                continue
            partner = next((group for group in groups if self._parallel(group[0], path)), None)
            if partner is None:
                groups.append([path])
            else:
                partner.append(path)
        return groups

    def _parallel(self, one: str, other: str) -> bool:
        if one not in self.inputs or self.inputs[one] is not self.inputs.get(other):
            return False
        return Geometry.of(self.layers[one]) == Geometry.of(self.layers[other])

    def site(self, paths: list[str], total_params: int, total_macs: int) -> Site:
        """The site that the layers at ``paths`` form."""
        kind, scale = self.scales[paths[0]]
        geometries = [Geometry.of(self.layers[path]) for path in paths]
        parameters = {p for path in paths for p in self.layers[path].parameters()}
        params = sum(parameter.numel() for parameter in parameters)
        macs = sum(self.macs[path] for path in paths)
        return Site(
            name="+".join(paths),
            layers=tuple(paths),
            kind=kind,
            scale=scale,
            kernel=geometries[0].kernel,
            stride=geometries[0].stride,
            in_channels=geometries[0].in_channels,
            out_channels=sum(geometry.out_channels for geometry in geometries),
            groups=geometries[0].groups,
            params=params,
            macs=macs,
            param_share=params / total_params,
            mac_share=macs / total_macs,
            bias=geometries[0].bias,
            positions=self.positions[paths[0]],
        )


def _weights(layer: nn.Module) -> int:
    """Multiply-accumulates of a layer for each of its positions."""
    if isinstance(layer, FactorisedConv):
        return _weights(layer.reduce) + _weights(layer.expand)
    if isinstance(layer, FactorisedTransposed):
        return _weights(layer.factor) + _weights(layer.expand)
    geometry = Geometry.of(layer)
    return (
        geometry.in_channels * geometry.out_channels * math.prod(geometry.kernel) // geometry.groups
    )
