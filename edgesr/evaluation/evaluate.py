"""Super-resolving images of any size, and measuring the result on the windows of a scene."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from edgesr_export.sizes import fit
from torch import Tensor, nn

from edgesr.cube.degrade import bicubic_upsample
from edgesr.errors import DataError, ModelError, OptionError
from edgesr.evaluation.metrics import Convention, evaluate_pair
from edgesr.evaluation.tiling import ALWAYS_WHOLE, tile_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgesr.cube.scene import Scene


OVERLAP = 8
"""LR pixels around the part of a tile that is used."""

WORTH = 6
"""A tile of so many overlaps is half new: four times the pixels are seen, and no more."""


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode of every module is restored afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _forward(model: nn.Module, lr: Tensor, scale: int) -> Tensor:
    sr = model(lr[None])[0]
    expected = (lr.shape[0], lr.shape[1] * scale, lr.shape[2] * scale)
    if tuple(sr.shape) != expected:
        raise ModelError(
            f"the model turned an input of {list(lr.shape)} into {list(sr.shape)}, expected "
            f"{list(expected)} at scale {scale}; give the scale that the model was built for"
        )
    return sr.float()


def _starts(length: int, tile: int, stride: int) -> list[int]:
    if length <= tile:
        return [0]
    return [*range(0, length - tile, stride), length - tile]


def _profile(start: int, size: int, length: int, context: int, scale: int) -> Tensor:
    """Weight of a tile's pixels along one axis, at HR size.

    Zero over ``context`` LR pixels at an inner edge, then a linear rise over as many; flat where
    the tile ends at the edge of the image.
    """
    position = (torch.arange(size * scale) + 0.5) / scale
    weight = torch.ones(size * scale)
    if start > 0:
        weight = torch.minimum(weight, (position - context) / max(context, 1))
    if start + size < length:
        weight = torch.minimum(weight, (size - position - context) / max(context, 1))
    return weight.clamp(0, 1)


def check_tile(tile: int | None, overlap: int = OVERLAP) -> None:
    """Raise :class:`OptionError` unless tiles of side ``tile`` can overlap by ``overlap``."""
    if overlap < 0:
        raise OptionError(f"overlap must be 0 or more LR pixels, received {overlap}")
    if tile is not None and tile <= 3 * overlap:
        raise OptionError(
            f"a tile of {tile} LR pixels leaves nothing between overlaps of {overlap}; "
            f"use a tile of {WORTH * overlap or ALWAYS_WHOLE} or more"
        )


def super_resolve(
    model: nn.Module, lr: Tensor, *, scale: int, tile: int | None = None, overlap: int = OVERLAP
) -> Tensor:
    """Super-resolve one image, whole or in tiles that bound the memory.

    Args:
        model: network from [1, B, h, w] to [1, B, h*scale, w*scale]. One that has a
            ``fixed_size`` (height, width) is given tiles of that size alone, whatever ``tile``
            is; a smaller image goes on mirrored.
        lr: [B, h, w] in [0, 1].
        scale: upscaling factor.
        tile: side of the square tiles in LR pixels, more than 3 * ``overlap``, better 6 times
            as much or more: of smaller ones little is new; None for one pass
            where the image has at most 64 x 64 pixels or the network can take it at once, else
            for tiles as large as :func:`edgesr.evaluation.tiling.tile_limit` allows.
        overlap: LR pixels around the part of a tile that is used. Results equal the single pass
            when the network looks no further than this around a pixel. A network that looks
            further (global pooling, attention) sees other surroundings in each tile; neighbouring
            tiles are therefore cross-faded over ``overlap`` pixels more, so that no seam shows.

    Returns:
        [B, h*scale, w*scale] in [0, 1], on the device of ``lr``.

    Raises:
        DataError: ``lr`` is not [B, h, w].
        OptionError: ``tile`` is too small for ``overlap``.
        ModelError: the network returned another size.
    """
    if lr.ndim != 3:
        raise DataError(f"super-resolution takes one image [B, h, w], received {list(lr.shape)}")
    check_tile(tile, overlap)
    device, inner = _device(model), lr.shape[1:]
    fixed: tuple[int, int] | None = getattr(model, "fixed_size", None)
    if fixed is not None:
        overlap = min(overlap, min(fixed) // WORTH)
        wanted = [max(pair) for pair in zip(inner, fixed, strict=True)]
        lr = fit(lr[None], (None, None, *wanted))[0]
    bands, height, width = lr.shape
    with inference(model):
        if tile is None and fixed is None:
            small = max(height, width) <= ALWAYS_WHOLE
            tile = ALWAYS_WHOLE if small else max(tile_limit(model, bands, device), 4 * overlap)
        tile_height, tile_width = fixed or (min(tile or 0, height), min(tile or 0, width))
        if (tile_height, tile_width) == (height, width):
            sr = _forward(model, lr.to(device), scale).clamp(0, 1).to(lr.device)
            return sr[:, : inner[0] * scale, : inner[1] * scale]
        total = lr.new_zeros(bands, height * scale, width * scale, dtype=torch.float32)
        weights = total.new_zeros(height * scale, width * scale)
        for top in _starts(height, tile_height, tile_height - 3 * overlap):
            rows = _profile(top, tile_height, height, overlap, scale)
            for left in _starts(width, tile_width, tile_width - 3 * overlap):
                columns = _profile(left, tile_width, width, overlap, scale)
                weight = (rows[:, None] * columns[None, :]).to(total.device)
                part = lr[:, top : top + tile_height, left : left + tile_width].to(device)
                sr = _forward(model, part, scale).to(total.device)
                target = (
                    slice(top * scale, (top + tile_height) * scale),
                    slice(left * scale, (left + tile_width) * scale),
                )
                total[:, target[0], target[1]].addcmul_(sr, weight)
                weights[target] += weight
    return total.div_(weights).clamp_(0, 1)[:, : inner[0] * scale, : inner[1] * scale]


def _mean(rows: Iterable[dict[str, float]], split: str) -> dict[str, float]:
    rows = list(rows)
    if not rows:
        raise DataError(
            f"the scene has no {split} windows to evaluate; choose another protocol or patch size"
        )
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def _evaluate(
    upscale: Callable[[Tensor], Tensor], scene: Scene, split: str, convention: Convention
) -> dict[str, float]:
    return _mean(
        (
            evaluate_pair(
                sample.cut(upscale(sample.lr))[None],
                sample.hr[None],
                scene.scale,
                convention=convention,
            )
            for sample in scene.samples(split)
        ),
        split,
    )


def evaluate(
    model: nn.Module,
    scene: Scene,
    split: str = "test",
    *,
    tile: int | None = None,
    overlap: int = OVERLAP,
    convention: Convention = "standard",
) -> dict[str, float]:
    """The six measures of :mod:`edgesr.evaluation.metrics`, averaged over a split's windows.

    ``split`` is "train", "tuning", "budget" or "test"; ``tile`` and ``overlap`` as in
    :func:`super_resolve`.
    """

    def upscale(lr: Tensor) -> Tensor:
        return super_resolve(model, lr, scale=scene.scale, tile=tile, overlap=overlap)

    return _evaluate(upscale, scene, split, convention)


def evaluate_bicubic(
    scene: Scene, split: str = "test", *, convention: Convention = "standard"
) -> dict[str, float]:
    """The six measures of plain bicubic upsampling (a = -0.75, half-pixel centres)."""

    def upscale(lr: Tensor) -> Tensor:
        return bicubic_upsample(lr[None], scene.scale)[0].clamp(0, 1)

    return _evaluate(upscale, scene, split, convention)
