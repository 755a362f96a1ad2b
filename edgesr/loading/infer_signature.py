"""Find out how a network is called, by trying it on real pixels.

The plain call comes first, then what the signature of ``forward`` suggests. A call that works at
one size is tried at odd ones, and with padding to a multiple where these fail. A network that runs
at one size alone is given tiles of it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any

import torch
from torch import Tensor, nn

from edgesr.errors import ModelError
from edgesr.loading.signature import BICUBIC, KINDS, SCALE_KINDS, Call
from edgesr.surgery.sites import evaluating

SCALES = (4, 2, 3, 8)  # tried where nobody says one
SIDES = {
    16: (1, 2, 4, 8, 16),
    48: (3, 6, 12, 24, 48),
    60: (5, 10, 15, 20, 30),
    56: (7, 14, 28),
    64: (32, 64),
}
"""Sides of the first tile, and the multiples that are tried where it went well."""

ALONE = (8, 10, 12, 20, 24, 30, 32, 36, 40, 50, 72, 80, 96, 100, 112, 120, 128)
"""Further sides, for networks that may run at a single one."""

ODD = (13, 11)  # no multiple of anything
IMAGE_NAMES = ("sr", "output", "out", "pred", "prediction", "hr", "image", "x")

_SCALE_NAME = re.compile(r"scale|factor|ratio|magnif|^(r|s|sf|upsampl(e|ing))$", re.I)
_BICUBIC_NAME = re.compile(r"lms|bic|interp|base|^up|_up$|^(x|lr)_?(up|hr)|^(y|z)$", re.I)


@dataclass(frozen=True)
class _Failure:
    """Why a call did not work.

    ``final``: no other size will help. ``answered``: it ran, and gave what ``reason`` says.
    """

    reason: str
    final: bool
    answered: bool = False


@torch.no_grad()
def find_call(model: nn.Module, example: Tensor, scale: int | None = None) -> tuple[Call, int]:
    """Find how a network is called, and its magnification.

    The network runs in evaluation mode and is left as it was. Of several outputs of the right size
    the largest is the image; of equal ones the best-named of a dictionary, the first of a tuple,
    the last of a list.

    Args:
        model: a network that this project did not write.
        example: LR tile [1, B, h, w] of the data that it is for.
        scale: the magnification that it must have, where that is known.

    Raises:
        ModelError: no call gives an image of the bands of ``example``, enlarged by a whole number
            of at least 2 (or by ``scale``); or one does, but for a single image alone.
    """
    failures: dict[Call, _Failure] = {}
    alone: list[Call] = []
    with evaluating(model):
        for wanted in _candidates(model, scale):
            for side, multiples in SIDES.items():
                found = _attempt(model, wanted, _tile(example, side, side), scale)
                if isinstance(found, _Failure):
                    failures.setdefault(wanted, found)
                    if found.final:
                        break
                    continue
                for multiple in multiples:
                    call = replace(found, multiple=multiple)
                    if _serves(model, call, example):
                        return call, call.scale
                alone.append(replace(found, side=side))
        for call in chain(alone, _alone(model, failures, example, scale)):
            if _serves(model, call, example):
                return call, call.scale
        if isinstance(_attempt(model, Call(), example[:1], scale), Call):
            raise ModelError(
                "the network takes one image at a time; training and tests need batches: let its"
                f" forward take any [N, {example.shape[1]}, h, w]"
            )
    raise ModelError(_refusal(failures, example, scale))


def _alone(
    model: nn.Module, failures: Mapping[Call, _Failure], example: Tensor, scale: int | None
) -> Iterator[Call]:
    """Calls that go well at one of the less usual sizes."""
    for wanted in [call for call, failure in failures.items() if not failure.final]:
        for side in ALONE:
            found = _attempt(model, wanted, _tile(example, side, side), scale)
            if isinstance(found, Call):
                yield replace(found, side=side)


def _candidates(model: nn.Module, scale: int | None) -> Iterator[Call]:
    """Calls worth trying, the most likely first."""
    declared = getattr(model, "scale", None)
    known = [declared] if type(declared) is int and declared > 1 else []
    scales = [scale] if scale else [*dict.fromkeys((*known, *SCALES))]
    required, optional = _further(model)
    layouts = (False, True)
    if not required:
        yield from (Call(volume=volume) for volume in layouts)
    for names in dict.fromkeys((tuple(required), (*required, *optional))):
        for kinds in product(*(_kinds(name) for name in names)):
            further = tuple(zip(names, kinds, strict=True))
            for volume, value in product(layouts if further else (), scales):
                yield Call(scale=value, further=further, volume=volume)
    if scale and not required:
        yield from (Call(scale=scale, enlarged=True, volume=volume) for volume in layouts)


def _further(model: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the arguments beside the image: those required, and those worth a try."""
    try:
        parameters = list(inspect.signature(model.forward).parameters.values())[1:]
    except (TypeError, ValueError):  # compiled code has none
        return [], []
    by_name = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = [p.name for p in by_name if p.default is p.empty]
    known = (_SCALE_NAME, _BICUBIC_NAME)
    optional = [
        p.name
        for p in by_name
        if p.default is not p.empty and any(pattern.search(p.name) for pattern in known)
    ]
    return required, optional


def _kinds(name: str) -> tuple[str, ...]:
    if _SCALE_NAME.search(name):
        return tuple(SCALE_KINDS)
    return (BICUBIC,) if _BICUBIC_NAME.search(name) else tuple(reversed(KINDS))


def _attempt(model: nn.Module, call: Call, tile: Tensor, scale: int | None) -> Call | _Failure:
    """Call a network; return the call with output and scale, or why it failed."""
    given = tile.clone()
    version = given._version
    image, further = call.arguments(given)
    try:
        result = model(image, **further)
    except Exception as error:  # a third-party code may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        return _Failure(reason, isinstance(error, TypeError))
    images = [
        (factor, key, squeeze)
        for key, value in _outputs(result)
        for squeeze in (False, True)
        if (factor := _factor(value, tile, squeeze)) and factor == (call.scale or scale or factor)
    ]
    if not images:
        return _Failure(_shapes(result), final=True, answered=True)
    factor, key, squeeze = max(images, key=lambda image: image[0])  # the first of equal ones
    written = given._version > version  # also where what it wrote changed nothing
    return replace(call, scale=factor, output=key, squeeze=squeeze, copy=written)


def _outputs(result: Any) -> list[tuple[str | int | None, Tensor]]:
    """Tensors that a network returned, with their keys, the likeliest image first."""
    pairs: list[tuple[Any, Any]] = [(None, result)]
    if isinstance(result, Mapping):
        names = [name for name in IMAGE_NAMES if name in result]
        pairs = [(name, result[name]) for name in dict.fromkeys((*names, *result))]
    elif isinstance(result, list | tuple):
        pairs = list(enumerate(result))
        if isinstance(result, list):
            pairs.reverse()
    return [(key, value) for key, value in pairs if isinstance(value, Tensor)]


def _factor(value: Tensor, tile: Tensor, squeeze: bool) -> int:
    """Whole number from 2 by which an output enlarges the tile; 0 where it does not."""
    if squeeze and (value.ndim != 5 or value.shape[1] != 1):
        return 0
    value = value.squeeze(1) if squeeze else value
    if value.ndim != 4 or value.shape[:2] != tile.shape[:2]:
        return 0
    factor = value.shape[2] // tile.shape[2]
    sides = [side * factor for side in tile.shape[2:]]
    return factor if factor > 1 and list(value.shape[2:]) == sides else 0


def _serves(model: nn.Module, call: Call, example: Tensor) -> bool:
    """Whether a call gives images of the right size at odd sizes, and at one and two multiples."""
    sizes = [ODD, *([(call.multiple + 1, call.multiple)] if call.multiple > 1 else [])]
    sizes += [(call.side + 1, call.side)] if call.side else []
    for height, width in sizes:
        tile = _tile(example, height, width)
        try:
            result = call.run(model, tile)
        except Exception:  # as above: this size does not suit it
            return False
        expected = (*tile.shape[:2], height * call.scale, width * call.scale)
        if not isinstance(result, Tensor) or result.shape != expected:
            return False
    return True


def _tile(example: Tensor, height: int, width: int) -> Tensor:
    """Two different tiles [2, B, height, width]: one may pass for an axis without meaning."""
    rows, columns = (-(-n // m) for n, m in zip((height, width), example.shape[2:], strict=True))
    tile = example[:1].repeat(1, 1, rows, columns)[..., :height, :width]
    return torch.cat([tile, tile.flip(-1)])


def _shapes(result: Any) -> str:
    """What a network made of one image, in words."""
    shapes = ", ".join(str([1, *value.shape[1:]]) for _, value in _outputs(result))
    return shapes if isinstance(result, Tensor) else f"{type(result).__name__} {shapes}".strip()


def _refusal(failures: Mapping[Call, _Failure], example: Tensor, scale: int | None) -> str:
    """One line: what came of the likeliest call, and what else was tried."""
    bands, side = example.shape[1], next(iter(SIDES))
    received = [1, bands, side, side]
    expected = str([1, bands, *[side * scale] * 2]) if scale else "a larger image of as many bands"
    ways = list(dict.fromkeys(call.describe() for call in failures))
    tried = "; ".join(ways[:4]) + ("; ..." if len(ways) > 4 else "")
    plain = failures.get(Call())
    if plain and plain.answered:
        fault = f"the network turns {received} into {plain.reason}, not {expected}"
    else:
        reasons = list(failures.values())
        useful = [failure for failure in reasons if not failure.final] or reasons
        fault = f"the network does not run on a tile {received} of this data ({useful[0].reason})"
    return f"{fault}; tried the calls {tried}; check --bands, --scale and --weights"
