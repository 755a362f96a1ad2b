"""Find the learnable upsamplers of any network, by watching it run once.

Found are convolutions (2-D or 3-D) whose output reaches a pixel shuffle, by name or written by hand
(see :mod:`edgesr.surgery.trace`), also through operations that keep the shape (activation,
normalisation, sum) and joined with others along the channels; convolutions that directly follow an
interpolation to a larger size; and transposed convolutions (2-D or 3-D) with a stride above 1.
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
from edgesr.surgery.structure import Factorised, Geometry
from edgesr.surgery.trace import Trace, magnification, moved, moves, regrouped

_PLAIN = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
_MIXING = re.compile("conv|linear|mm|matmul|einsum|attention|pool|interpolate|upsample")


@dataclass(frozen=True)
class Site:
    """One learnable upsampler, or a layer of the backbone (kind "conv" or "linear", scale 1).

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
    watch = watched(model, example)
    return [watch.site(group) for group in watch.found()]


def watched(model: nn.Module, example: Tensor) -> Watch:
    """Run ``model`` once as :func:`find_sites` does, and return what was seen of its layers."""
    watch = Watch(model)
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
    watch.total_macs = counter.get_total_flops() // 2
    return watch


def require_sites(model: nn.Module, example: Tensor) -> list[Site]:
    """Like :func:`find_sites`, with a :class:`ModelError` where there is none."""
    sites = find_sites(model, example)
    if not sites:
        raise ModelError(
            f"{type(model).__name__} has no learnable upsampler (convolution before a pixel "
            "shuffle or after a resize, or a transposed one with stride above 1): "
            "there is nothing to compress; compress --method none deploys it as it is"
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


def is_layer(module: nn.Module) -> bool:
    """Whether a module is a layer of PyTorch, or of edgesr, whose weights act as they stand."""
    if isinstance(module, Factorised):
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


class Watch(TorchFunctionMode):
    """Follows tensors from convolutions to pixel shuffles and from resizes to convolutions."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        inside = {
            child
            for module in model.modules()
            if isinstance(module, Factorised)
            for child in module.modules()
            if child is not module
        }
        self.layers = {
            path: module
            for path, module in model.named_modules()
            if is_layer(module) and module not in inside
        }
        self.total_params = sum(parameter.numel() for parameter in model.parameters())
        self.total_macs = 0
        self.scales: dict[str, tuple[str, int]] = {}
        self.macs: dict[str, int] = {}
        self.inputs: dict[str, Tensor] = {}
        self.positions: dict[str, int] = {}
        self._calls = 0
        self._origin = WeakIdKeyDictionary()  # tensor -> its Trace
        self._resized = WeakIdKeyDictionary()  # tensor -> scale of the interpolation

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "").partition(".")[0]
        values = [
            value
            for argument in (*args, *kwargs.values())
            for value in (argument if isinstance(argument, tuple | list) else (argument,))
        ]
        tensors = [value for value in values if isinstance(value, Tensor)]
        if tensors and not _MIXING.search(name):
            for part in result if isinstance(result, tuple | list) else (result,):
                if isinstance(part, Tensor):
                    self._pass_on(name, func, args, kwargs, tensors, part)
        elif name == "interpolate":
            scale = _whole_scale(tensors[0], result)
            if scale:
                self._resized[result] = scale
        return result

    def _pass_on(
        self,
        name: str,
        func: Any,
        args: Any,
        kwargs: dict[str, Any],
        tensors: list[Tensor],
        result: Tensor,
    ) -> None:
        origins = [(t, self._origin[t]) for t in tensors if t in self._origin]
        trace = regrouped(name, origins, result) if origins else None
        if origins and trace is None:
            if not moves(name):
                trace = self._through(origins, result)
            elif origins[0][0] is tensors[0]:  # not the one that only lends its shape
                trace = moved(name, func, args, kwargs, *origins[0], result)
        if trace is not None:
            self._origin[result] = trace
            scale = magnification(trace, result.shape) if trace.steps else 0
            for path in trace.paths if scale else ():
                if not Geometry.of(self.layers[path]).transposed:
                    self.scales[path] = ("subpixel", scale)
        alike = _without_ones(tensors[0]) == _without_ones(result)
        if len(tensors) == 1 and tensors[0] in self._resized and (alike or name == "pad"):
            self._resized[result] = self._resized[tensors[0]]

    def _through(self, origins: list[tuple[Tensor, Trace]], result: Tensor) -> Trace | None:
        """The latest trace that an operation element by element passes on."""
        shape = _without_ones(result)
        alike = [(tensor, trace) for tensor, trace in origins if _without_ones(tensor) == shape]
        if not alike:
            return None
        tensor, trace = max(alike, key=lambda entry: entry[1].call)
        return trace if tensor.shape == result.shape else trace.reshaped(result.shape)

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
            if not geometry.kernel:
                return  # no linear layer is an upsampler
            self._calls += 1
            self._origin[output] = Trace(self._calls, (path,), output.shape)
            self._resized.pop(output, None)
            if geometry.transposed:
                if geometry.stride[-1] == geometry.stride[-2] > 1:
                    self.inputs[path] = source
                    self.scales[path] = ("transposed", geometry.stride[-1])
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

    def site(self, paths: list[str]) -> Site:
        """The site that the layers at ``paths`` form."""
        geometries = [Geometry.of(self.layers[path]) for path in paths]
        kind, scale = self.scales.get(paths[0], ("conv" if geometries[0].kernel else "linear", 1))
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
            param_share=params / self.total_params,
            mac_share=macs / self.total_macs,
            bias=geometries[0].bias,
            positions=self.positions[paths[0]],
        )


def _weights(layer: nn.Module) -> int:
    """Multiply-accumulates of a layer for each of its positions."""
    if isinstance(layer, Factorised):
        return sum(_weights(factor) for factor in layer.factors())
    geometry = Geometry.of(layer)
    return (
        geometry.in_channels * geometry.out_channels * math.prod(geometry.kernel) // geometry.groups
    )
