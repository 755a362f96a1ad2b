"""Follow a convolution's output to where movements of data alone turn it into a larger image.

A pixel shuffle, called by name or written by hand, gives each s x s block of its result the
channels of one position of what it reads. That is what :func:`magnification` looks for: it repeats
the recorded movements on a tensor that holds its own positions. The order of the channels is free,
since low-rank and grouped layers keep that of the layer that they replace; merged windows and grids
of sub-images are no shuffle, since their pixels come from several positions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

Step = Callable[[Tensor], Tensor]

_KEEP_ORDER = re.compile("(view|reshape)(_as)?|(un)?(flatten|squeeze)|contiguous|clone|to")
_REORDER = re.compile(
    "permute|transpose|move(dim|axis)|swap(dims|axes)|(pixel|channel)_(un)?shuffle|fold"
)
_CHANNELS = re.compile(
    "cat|concat(enate)?|chunk|(tensor_)?split(_with_sizes)?|narrow|index_select|__getitem__"
)


@dataclass(frozen=True)
class Trace:
    """Where a tensor comes from: the ``call``-th call of a layer, the convolutions at ``paths``.

    ``shape`` [N, C, *] is that of the tensor at which the ``steps`` start, channels whole.
    """

    call: int
    paths: tuple[str, ...]
    shape: torch.Size
    steps: tuple[Step, ...] = ()

    def then(self, step: Step) -> Trace:
        """The same with one more movement."""
        return replace(self, steps=(*self.steps, step))

    def reshaped(self, shape: torch.Size) -> Trace:
        """The same elements in the same order, in ``shape``."""
        return self.then(lambda places: places.reshape(shape))


def moves(name: str) -> bool:
    """Whether the function of that name only moves data."""
    return bool(_KEEP_ORDER.fullmatch(name) or _REORDER.fullmatch(name))


def moved(
    name: str,
    func: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    source: Tensor,
    trace: Trace,
    result: Tensor,
) -> Trace:
    """The trace of what ``func``, which :func:`moves` by its ``name``, made of ``source``."""
    if _KEEP_ORDER.fullmatch(name):
        return trace.reshaped(result.shape)
    call: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
    places_at = [key for key, value in call.items() if value is source]
    call.update(dict.fromkeys(places_at))  # the trace must not keep the source alive

    def step(places: Tensor) -> Tensor:
        filled = {**call, **dict.fromkeys(places_at, places)}
        positional = [filled.pop(index) for index in range(len(args))]
        return func(*positional, **filled)

    return trace.then(step)


def regrouped(name: str, sources: Sequence[tuple[Tensor, Trace]], result: Tensor) -> Trace | None:
    """The trace of ``result`` where it picks or joins whole channels of ``sources``, else None."""
    if not _CHANNELS.fullmatch(name) or result.ndim < 4:
        return None
    wanted = (result.shape[:1], result.shape[2:])
    if any(
        trace.steps or (tensor.shape[:1], tensor.shape[2:]) != wanted for tensor, trace in sources
    ):
        return None
    paths = dict.fromkeys(path for _, trace in sources for path in trace.paths)
    return Trace(max(trace.call for _, trace in sources), tuple(paths), result.shape)


def magnification(trace: Trace, result: torch.Size) -> int:
    """Scale s of the pixel shuffle that leads to a tensor of shape ``result``, 0 without one."""
    if len(trace.shape) < 4 or len(result) < 3:
        return 0
    (h, w), (height, width) = trace.shape[-2:], result[-2:]
    scale = height // h
    if scale < 2 or (height, width) != (h * scale, w * scale):
        return 0
    batch, _, *spatial = trace.shape
    places = torch.arange(batch * math.prod(spatial), dtype=torch.float64)  # folds want floats
    places = places.reshape(batch, 1, *spatial).expand(trace.shape)
    for step in trace.steps:
        places = step(places)
    corners = places[..., ::scale, ::scale]
    blocks = corners.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
    order = torch.arange(h * w, dtype=torch.float64).reshape(h, w)
    in_place = torch.equal(corners % (h * w), order.expand_as(corners))
    return scale if in_place and torch.equal(places, blocks) else 0
