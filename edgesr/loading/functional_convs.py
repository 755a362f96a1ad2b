"""Turn convolutions in an author's own writing into layers that surgery can work on; exactly.

The network runs on two images, and every functional convolution is seen. A module that is nothing
but one convolution of its input (its own weight normalisation, equalised learning rate) is replaced
by a layer with the weights that were passed, where these do not depend on the image. A call with a
parameter as its weight moves the parameter into a layer (see :mod:`edgesr.surgery.hoist`). What
came out is compared with the original; a change that does not hold is not made.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgesr.surgery.hoist import FUNCTIONALS
from edgesr.surgery.layers import assign
from edgesr.surgery.passes.plain import geometry_entry
from edgesr.surgery.sites import evaluating, is_layer
from edgesr.surgery.structure import Change, Geometry, apply_changes, clone

LARGE = 1024
"""Weights from which a 1 x 1 convolution is worth a layer of its own."""

TOLERANCE = 1e-5
"""Largest difference from the original, relative to its largest value."""

_TRANSPOSED = (F.conv_transpose2d, F.conv_transpose3d)
_FAILURES = (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError)


@dataclass(frozen=True)
class _Call:
    """One functional convolution; ``whole`` where it is all that its caller does."""

    caller: str
    source: Tensor
    weight: Tensor
    bias: Tensor | None
    geometry: Geometry
    output: Tensor
    whole: bool = False


@dataclass(frozen=True)
class _Finding:
    """A change, and what its layer is to hold."""

    change: Change
    layer: str
    weight: Tensor
    bias: Tensor | None


@torch.no_grad()
def make_plain(model: nn.Module, example: Tensor) -> tuple[nn.Module, list[Change]]:
    """A copy of ``model`` with layers for its own convolutions, and the changes made.

    Args:
        model: any network [N, B, h, w] -> [N, B, h r, w r]; left as it was.
        example: an LR tile [N, B, h, w].

    Returns:
        The model itself and no changes where there is nothing to do. Left alone are small
        convolutions (1 x 1 with fewer than :data:`LARGE` weights), weights that depend on the
        image, weights used in more than one way, and whatever would change the output by more
        than :data:`TOLERANCE`.
    """
    # another mean as well: weights that an image decides often depend on its mean alone
    images = [example, 0.6 * example.flip(-1)]
    with evaluating(model):
        expected = [model(image) for image in images]
        findings = _findings(model, images)
        if not findings or not all(isinstance(output, Tensor) for output in expected):
            return model, []
        if not _agrees(_changed(model, findings), images, expected):
            findings = [f for f in findings if _agrees(_changed(model, [f]), images, expected)]
    changed = _changed(model, findings)
    return (changed, [f.change for f in findings]) if changed is not None else (model, [])


def _changed(model: nn.Module, findings: Sequence[_Finding]) -> nn.Module | None:
    if not findings:
        return None
    try:
        changed = apply_changes(clone(model), [finding.change for finding in findings])
    except _FAILURES:
        return None
    for finding in findings:
        layer = changed.get_submodule(finding.layer)
        for name, value in (("weight", finding.weight), ("bias", finding.bias)):
            if value is not None:
                assign(getattr(layer, name), value)
                frozen = isinstance(value, nn.Parameter) and not value.requires_grad
                getattr(layer, name).requires_grad_(not frozen)
    return changed


def _agrees(model: nn.Module | None, images: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Whether a network, in evaluation mode, gives the expected outputs."""
    if model is None:
        return False
    try:
        outputs = [model(image) for image in images]
    except _FAILURES:
        return False
    return all(
        output.shape == wanted.shape
        and float((output - wanted).abs().max()) <= TOLERANCE * float(wanted.abs().max())
        for output, wanted in zip(outputs, expected, strict=True)
    )


def _findings(model: nn.Module, images: Sequence[Tensor]) -> list[_Finding]:
    watch = _Watch(model)
    with watch.hooks(), watch:
        for image in images:
            model(image)
    found: list[_Finding] = []
    replaced: set[str] = set()
    by_weight: dict[int, list[_Call]] = defaultdict(list)
    for path, calls in watch.calls.items():
        for call in calls:
            by_weight[id(call.weight)].append(call)
        module = watch.modules[path]
        learned = next(module.parameters(), None) is not None  # no fixed filter, such as a blur
        own = learned and not is_layer(module) and all(call.whole for call in calls)
        if own and _alike(calls) and _worthwhile(calls[0]):
            found.append(_replacement(path, calls[0]))
            replaced.add(path)
    for calls in by_weight.values():
        caller = calls[0].caller
        if caller not in replaced and not is_layer(watch.modules[caller]):
            finding = _hoisting(model, calls)
            found += [finding] if finding else []
    return found


def _alike(calls: Sequence[_Call]) -> bool:
    """Whether all calls make the same convolution."""
    first = calls[0]
    return all(
        call.geometry == first.geometry
        and torch.equal(call.weight, first.weight)
        and (first.bias is None or call.bias is None or torch.equal(call.bias, first.bias))
        for call in calls[1:]
    )


def _worthwhile(call: _Call) -> bool:
    real = call.weight.is_floating_point()
    return real and (math.prod(call.geometry.kernel) > 1 or call.weight.numel() >= LARGE)


def _replacement(path: str, call: _Call) -> _Finding:
    change = {
        "pass": "plain",
        "site": path,
        "layers": [path],
        "geometry": geometry_entry(call.geometry),
    }
    return _Finding(change, path, call.weight, call.bias)


def _hoisting(model: nn.Module, calls: Sequence[_Call]) -> _Finding | None:
    """The layer for calls with one weight, where that is one parameter, always used alike."""
    first, owners = calls[0], _owners(model)
    same = all(
        (call.caller, call.geometry) == (first.caller, first.geometry) and call.bias is first.bias
        for call in calls
    )
    parameters = [first.weight] if first.bias is None else [first.weight, first.bias]
    places = [owners.get(id(parameter), []) for parameter in parameters]
    if not same or not _worthwhile(first) or any(len(place) != 1 for place in places):
        return None
    holders, names = zip(*(place[0] for place in places), strict=True)
    if len(set(holders)) > 1:
        return None
    child = f"{names[0]}_conv"
    if hasattr(model.get_submodule(holders[0]), child):
        return None
    layer = f"{holders[0]}.{child}".lstrip(".")
    change: Change = {
        "pass": "plain",
        "site": layer,
        "layers": [first.caller, holders[0]],
        "weight": names[0],
        "bias": names[1] if len(names) > 1 else None,
        "child": child,
        "geometry": geometry_entry(first.geometry),
    }
    return _Finding(change, layer, first.weight, first.bias)


def _owners(model: nn.Module) -> dict[int, list[tuple[str, str]]]:
    """Where each parameter is registered: module path and name, by the parameter's identity."""
    owners: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for path, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                owners[id(parameter)].append((path, name))
    return owners


class _Watch(TorchFunctionMode):
    """Collects the functional convolutions by the module that makes them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.modules = dict(model.named_modules())
        self.calls: dict[str, list[_Call]] = defaultdict(list)
        self._running: list[tuple[str, list[_Call]]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in FUNCTIONALS and self._running:
            path, calls = self._running[-1]
            calls.append(_seen(path, func, args, kwargs or {}, result))
        return result

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Know which module is running while the context lasts."""
        handles = []
        for path, module in self.modules.items():

            def enter(module: nn.Module, args: Any, path: str = path) -> None:
                self._running.append((path, []))

            def leave(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
                path, calls = self._running.pop()
                alone = len(calls) == 1 and len(args) == 1 and not kwargs
                if alone and calls[0].source is args[0] and calls[0].output is output:
                    calls = [_Call(**{**vars(calls[0]), "whole": True})]
                if calls:
                    self.calls[path] += calls

            handles.append(module.register_forward_pre_hook(enter, prepend=True))
            handles.append(module.register_forward_hook(leave, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _seen(path: str, func: Any, args: Any, kwargs: dict[str, Any], output: Tensor) -> _Call:
    transposed = func in _TRANSPOSED
    last = ("output_padding", "groups", "dilation") if transposed else ("dilation", "groups")
    names = ("input", "weight", "bias", "stride", "padding", *last)
    call = {**dict(zip(names, args, strict=False)), **kwargs}
    weight, groups, axes = call["weight"], call.get("groups", 1), call["weight"].ndim - 2

    def sides(name: str, usual: int) -> Any:
        value = call.get(name, usual)
        if isinstance(value, str):
            return value
        values = tuple(value) if isinstance(value, Sequence) else (value,)
        return values * axes if len(values) == 1 else values

    inner, outer = weight.shape[1] * groups, weight.shape[0]
    if transposed:
        inner, outer = weight.shape[0], weight.shape[1] * groups
    geometry = Geometry(
        transposed=transposed,
        in_channels=inner,
        out_channels=outer,
        kernel=tuple(weight.shape[2:]),
        stride=sides("stride", 1),
        padding=sides("padding", 0),
        output_padding=sides("output_padding", 0),
        dilation=sides("dilation", 1),
        groups=groups,
        padding_mode="zeros",
        bias=call.get("bias") is not None,
        device=weight.device,
        dtype=weight.dtype,
    )
    return _Call(path, call["input"], weight, call.get("bias"), geometry, output)
