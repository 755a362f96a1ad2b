"""What a network costs: stored numbers and multiply-accumulates, by layer.

MACs are counted as fvcore counts its "FLOPs", and as the LKCA-Net paper prints them: one per
multiply-accumulate of a convolution, linear layer or matrix product, biases free; one per input
element of an adaptive average pool; normalisation, activations, other element-wise work and
bicubic interpolation free. Scaled dot-product attention, which fvcore skips, counts as its two
matrix products.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from edgesr.errors import ModelError

Role = Literal["backbone", "upsampler", "other"]
DEFAULT_SIZE = 16
ADAPTIVE_POOLS = (F.adaptive_avg_pool2d, torch._C._nn.adaptive_avg_pool2d)


@dataclass(frozen=True)
class LayerCost:
    """One module's own cost, without its children's.

    ``role``: "upsampler" for the layers that :func:`edgesr.surgery.sites.find_sites` reports,
    "backbone" for what runs before the first of them, "other" for the rest (after it, or never).
    """

    name: str
    kind: str
    role: Role
    params: int
    macs: int


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass at ``input_shape``.

    ``params`` counts the numbers a file of the network holds: weights, biases and the running
    statistics of batch normalisation (as Keras does); ``trainable`` leaves the statistics out.
    """

    input_shape: tuple[int, ...]
    params: int
    trainable: int
    macs: int
    layers: tuple[LayerCost, ...]

    @property
    def upsampler_params(self) -> int:
        return sum(layer.params for layer in self.layers if layer.role == "upsampler")

    @property
    def upsampler_macs(self) -> int:
        return sum(layer.macs for layer in self.layers if layer.role == "upsampler")


def count(
    model: nn.Module,
    input_shape: tuple[int, ...] | None = None,
    upsampler: Sequence[str] | None = None,
) -> Cost:
    """Run ``model`` once, in eval mode on zeros, and add up what each layer costs.

    Args:
        model: any network; left as it was.
        input_shape: [N, B, h, w] of the LR input; None is [1, model.bands, 16, 16], the shape that
            the LKCA-Net paper counts at.
        upsampler: module paths of the upsampling layers, or of what took their place; None finds
            them, by another run.

    Raises:
        ModelError: the network does not run on that shape, or has no ``bands`` to derive one from.

    Example:
        >>> from edgesr.models import create_model
        >>> count(create_model("vdsr", bands=128, scale=4)).params
        1916928
    """
    if input_shape is None:
        if not isinstance(getattr(model, "bands", None), int):
            raise ModelError(
                f"a {type(model).__name__} does not say how many bands it takes; give input_shape"
            )
        input_shape = (1, int(model.bands), DEFAULT_SIZE, DEFAULT_SIZE)  # type: ignore[arg-type]
    first = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    example = torch.zeros(input_shape, dtype=first.dtype, device=first.device)
    with _evaluating(model):
        run = _measure(model, example)
        if upsampler is None:
            upsampler = _upsampler_layers(model, example)
    params, trainable = _own_numbers(model)
    layers = tuple(
        LayerCost(name, kind, _role(name, run.order, upsampler), params[name], run.macs[name])
        for name, kind in _kinds(model).items()
        if params[name] or run.macs[name]
    )
    return Cost(tuple(input_shape), params.total(), trainable, run.macs.total(), layers)


class _Run(TorchDispatchMode):
    """Adds the MACs of every operator to the innermost module that is running."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[str] = [""]
        self.order: dict[str, int] = {}
        self.macs: Counter[str] = Counter()

    def enter(self, name: str) -> None:
        self.order.setdefault(name, len(self.order))
        self.running.append(name)

    def leave(self) -> None:
        self.running.pop()

    def add(self, macs: int) -> None:
        self.macs[_owner(self.running[-1])] += macs

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu:
            query, key, value = (tensor.shape for tensor in args[:3])
            self.add(sdpa_flop_count(query, key, value) // 2)
        elif packet in flop_registry:
            self.add(flop_registry[packet](*args, **(kwargs or {}), out_val=result) // 2)
        return result


class _Pools(TorchFunctionMode):
    """Adaptive average pools, which reach the dispatcher as plain means."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self.run = run

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in ADAPTIVE_POOLS:
            pooled = args[0] if args else kwargs["input"]
            self.run.add(pooled.numel())
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def _measure(model: nn.Module, example: Tensor) -> _Run:
    run = _Run()
    handles = []
    for name, module in model.named_modules():

        def enter(module: nn.Module, inputs: Any, name: str = name) -> None:
            run.enter(name)

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            run.leave()

        handles.append(module.register_forward_pre_hook(enter, prepend=True))
        handles.append(module.register_forward_hook(leave))
    try:
        with _Pools(run), run:
            model(example)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{type(model).__name__} does not run on an input of shape {list(example.shape)} "
            f"({reason}); give the shape [N, bands, height, width] that it takes"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return run


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _owner(name: str) -> str:
    """The module itself for the helper modules in which torch keeps its parametrizations."""
    return re.split(r"(?:^|\.)parametrizations(?:\.|$)", name)[0]


def _kinds(model: nn.Module) -> dict[str, str]:
    return {
        name: parametrize.type_before_parametrizations(module).__name__
        for name, module in model.named_modules()
        if name == _owner(name)
    }


def _own_numbers(model: nn.Module) -> tuple[Counter[str], int]:
    """Numbers that each module stores itself, shared ones once, and how many are parameters."""
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        counts[_owner(name.rpartition(".")[0])] += parameter.numel()
    trainable = counts.total()
    for name, module in model.named_modules():
        for statistic in ("running_mean", "running_var"):
            buffer = getattr(module, statistic, None)
            counts[name] += buffer.numel() if isinstance(buffer, Tensor) else 0
    return counts, trainable


def _upsampler_layers(model: nn.Module, example: Tensor) -> tuple[str, ...]:
    """Module paths of the upsampling layers, or of what surgery put in their place."""
    from edgesr.surgery.sites import find_sites

    return tuple(layer for site in find_sites(model, example) for layer in site.layers)


def _role(name: str, order: dict[str, int], upsampler: Sequence[str]) -> Role:
    if any(layer in ("", name) or name.startswith(f"{layer}.") for layer in upsampler):
        return "upsampler"
    while name not in order:  # a module that never runs itself belongs to its parent
        name = name.rpartition(".")[0]
    first = min((order[layer] for layer in upsampler if layer in order), default=len(order))
    return "backbone" if order[name] < first else "other"
