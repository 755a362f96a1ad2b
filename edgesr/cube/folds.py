"""A scene with few budget blocks, divided anew: parts of its training region take turns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from edgesr.cube.cube import Window
from edgesr.cube.held_out import evenly, grown
from edgesr.cube.protocols import MIN_LR_SIDE
from edgesr.cube.scene import Scene
from edgesr.cube.split import surroundings

FOLDS = 6


def folds(scene: Scene) -> tuple[Scene, ...]:
    """The scene once for each fold: a part of the training region as its only budget window.

    The largest training region is cut into :data:`FOLDS` parts, as square as may be, each seen with
    its surroundings, as budget blocks are. What is left of the region around a part trains there:
    windows about as large as training patches, one LR pixel away from the part, or next to it where
    the region is too small.

    Only for what is fitted to the training windows in closed form: a network that was trained has
    seen every part. Empty where the protocol fixes the patches, where nodata lies between them, and
    where nothing would be left.
    """
    if not scene.train_regions:
        return ()
    region = max(scene.train_regions, key=lambda one: one.pixels)
    for guard, parts in product((scene.scale, 0), _grids(region, scene.scale)):
        rests = [_rest(region, grown(part, guard), scene) for part in parts]
        if all(rests):
            break
    else:
        return ()
    seen = surroundings(
        parts,
        scale=scene.scale,
        extent=scene.cube.extent,
        test=scene.test,
        invalid=scene.cube.invalid(),
    )
    return tuple(
        replace(scene, train=rest, budget=(part,), train_regions=(), surroundings=seen)
        for part, rest in zip(parts, rests, strict=True)
    )


def _grids(region: Window, scale: int) -> list[list[Window]]:
    """Ways to cut a region into equal parts, the most square first; far edges may be left over."""
    shapes = []
    for rows in (rows for rows in range(1, FOLDS + 1) if FOLDS % rows == 0):
        height = region.height // rows // scale * scale
        width = region.width // (FOLDS // rows) // scale * scale
        if height and width:
            shapes.append((abs(math.log(height / width)), rows, height, width))
    return [
        [
            Window(region.row + i * height, region.col + j * width, height, width)
            for i in range(rows)
            for j in range(FOLDS // rows)
        ]
        for _, rows, height, width in sorted(shapes)
    ]


def _rest(region: Window, hole: Window, scene: Scene) -> tuple[Window, ...]:
    """Windows of a region without a hole that are large enough for a network to see."""
    least = MIN_LR_SIDE * scene.scale
    largest = max(scene.train[0].height, 2 * least)
    return tuple(
        tile
        for window in _around(region, hole)
        if min(window.height, window.width) >= least
        for tile in evenly(window, largest, scene.scale)
    )


def _around(region: Window, hole: Window) -> Iterator[Window]:
    """What is left of a region without a hole: above it, below it, and at its sides."""
    bottom, right = region.row + region.height, region.col + region.width
    upper, lower = max(hole.row, region.row), min(hole.row + hole.height, bottom)
    yield Window(region.row, region.col, upper - region.row, region.width)
    yield Window(lower, region.col, bottom - lower, region.width)
    yield Window(upper, region.col, lower - upper, hole.col - region.col)
    end = hole.col + hole.width
    yield Window(upper, end, lower - upper, right - end)
