"""From the regions of a protocol to the windows of each role."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgesr.cube.cube import Window
from edgesr.cube.held_out import block_side, grown
from edgesr.cube.protocols import MIN_LR_SIDE, Regions
from edgesr.errors import DataError

CONTEXT = 4
"""LR pixels around a held-out block that the network sees with it."""


@dataclass(frozen=True)
class Parts:
    """Windows without nodata, for each use."""

    train: tuple[Window, ...]
    tuning: tuple[Window, ...]
    budget: tuple[Window, ...]
    test: tuple[Window, ...]


def divide(
    regions: Regions,
    *,
    invalid: np.ndarray,
    patch: int,
    stride: int,
    scale: int,
    share: float,
    seed: int,
    cover: bool,
    leaks: bool,
    name: str,
) -> Parts:
    """Cut patches, leave out what is held out or invalid, and draw tuning patches.

    A patch that touches a tuning or budget window or its guard, or (unless ``leaks``) a test
    window, or that holds one invalid pixel is not trained on. A tuning or budget window with
    invalid pixels moves to the nearest place without: at the edges, where such windows lie, there
    is often none of a tilted swath. Where there is no such place, and for the test region, it is
    cut into tiles as large as ``patch``, or the largest halves of it that help; valid tiles stay.

    Args:
        regions: of the protocol.
        invalid: bool [H, W] of the crop, True = nodata or NaN.
        patch: side of a training patch.
        stride: distance of neighbouring patches.
        scale: divides every window.
        share: of the patches, tunes when the regions have no tuning window; 0: none does.
        seed: draws that share.
        cover: let patches also end at the far edges of a region.
        leaks: keep training patches that intersect a test window.
        name: of the cube, for messages.

    Raises:
        DataError: nothing is left for one of the uses.
    """
    if invalid.all():
        raise DataError(
            f"{name}: every pixel is nodata, NaN or infinite; bring another cube, or correct its "
            "nodata value"
        )
    regions = _with_valid_blocks(regions, invalid, scale)
    blocks = (*regions.tuning, *regions.budget)
    held_out = (
        *(() if leaks else regions.test),
        *(grown(window, regions.guard) for window in blocks),
    )
    candidates = dict.fromkeys(
        window for region in regions.train for window in region.tiles(patch, stride, cover=cover)
    )
    train = [
        window
        for window in candidates
        if not any(window.intersects(other) for other in held_out) and _is_valid(window, invalid)
    ]
    test = _valid_parts(regions.test, invalid, patch, scale)
    budget = _valid_parts(regions.budget, invalid, patch, scale)
    if regions.tuning:
        tuning = _valid_parts(regions.tuning, invalid, patch, scale)
    else:
        train, tuning = _draw(train, share, seed)
    needed = {"training": train}
    if share or regions.tuning:
        needed["tuning"] = tuning
    if regions.budget:
        needed["budget"] = budget
    if regions.test:
        needed["test"] = test
    for use, windows in needed.items():
        if not windows:
            raise DataError(
                f"{name}: no {use} window is free of nodata and NaN with patches of {patch} "
                f"pixels; choose a smaller --patch, at least {MIN_LR_SIDE * scale}, or another cube"
            )
    return Parts(tuple(train), tuple(tuning), tuple(budget), tuple(test))


def _with_valid_blocks(regions: Regions, invalid: np.ndarray, scale: int) -> Regions:
    """The regions, with tuning and budget windows moved off invalid pixels where possible."""
    blocks = (*regions.budget, *regions.tuning)
    if not regions.tuning:  # a published protocol stays as it was published
        return regions
    if not any(invalid[window.slices].any() for window in blocks):
        return regions
    sums = np.pad(invalid.cumsum(0).cumsum(1), ((1, 0), (1, 0)))  # of the pixels above and before
    top = min(window.row for window in (*regions.train, *blocks))
    placed: dict[Window, Window] = {window: window for window in blocks}

    for role in (regions.budget, regions.tuning):
        for window in role:
            if _is_valid(window, invalid):
                continue
            del placed[window]
            height, width = window.height, window.width
            held = (
                sums[height:, width:] - sums[:-height, width:]
                - sums[height:, :-width] + sums[:-height, :-width]
            )  # fmt: skip
            rows, cols = np.nonzero(held[top::scale, ::scale] == 0)
            places = np.stack((rows * scale + top, cols * scale), axis=1)
            distance = ((places - (window.row, window.col)) ** 2).sum(1)
            for row, col in places[np.argsort(distance, kind="stable")].tolist():
                moved = Window(row, col, height, width)
                near = grown(moved, regions.guard)
                if any(near.intersects(other) for other in regions.test):
                    continue
                if not any(
                    (moved if one in role else near).intersects(at) for one, at in placed.items()
                ):
                    placed[window] = moved
                    break
            else:
                placed[window] = window
    return replace(
        regions,
        tuning=tuple(placed[window] for window in regions.tuning),
        budget=tuple(placed[window] for window in regions.budget),
    )


def surroundings(
    windows: Iterable[Window],
    *,
    scale: int,
    extent: Window,
    test: Sequence[Window],
    invalid: np.ndarray,
) -> dict[Window, Window]:
    """The window that each is super-resolved in: :data:`CONTEXT` LR pixels more on each side.

    Nearest to the middle that lies in ``extent``, without test and ``invalid`` [H, W] pixels; a
    window that has no such surroundings stands for itself.
    """
    margin = CONTEXT * scale
    shifts = sorted(
        ((row, col) for row in range(-margin, margin + 1, scale)
         for col in range(-margin, margin + 1, scale)),
        key=lambda shift: (shift[0] ** 2 + shift[1] ** 2, shift),
    )  # fmt: skip

    def around(window: Window) -> Window:
        wide = grown(window, margin)
        for row, col in shifts:
            moved = Window(wide.row + row, wide.col + col, wide.height, wide.width)
            if (
                moved.inside(extent)
                and not any(moved.intersects(other) for other in test)
                and _is_valid(moved, invalid)
            ):
                return moved
        return window

    return {window: around(window) for window in windows}


def check_divisible(windows: Sequence[Window], scale: int) -> None:
    """DataError unless the scale divides the sides of every window."""
    for window in windows:
        if window.height % scale or window.width % scale:
            raise DataError(
                f"scale {scale} does not divide the test region of {window.height} x "
                f"{window.width} pixels; choose a scale that does, such as 2 or 4, or "
                "--protocol auto"
            )


def check_patch_fits(regions: Sequence[Window], patch: int, scale: int) -> None:
    """DataError unless a training region holds at least one patch."""
    side = max(min(region.height, region.width) for region in regions)
    if side < patch:
        raise DataError(
            f"the cube is smaller than one patch: no training region holds {patch} x {patch} "
            f"pixels; choose --patch {side // scale * scale} or smaller, or bring a larger cube"
        )


def _is_valid(window: Window, invalid: np.ndarray) -> bool:
    return not invalid[window.slices].any()


def _valid_parts(
    windows: Sequence[Window], invalid: np.ndarray, patch: int, scale: int
) -> list[Window]:
    found: list[Window] = []
    for window in windows:
        if _is_valid(window, invalid):
            found.append(window)
            continue
        side = min(patch, window.height, window.width) // scale * scale
        while side >= block_side(scale):
            tiles = [tile for tile in window.tiles(side, side) if _is_valid(tile, invalid)]
            if tiles:
                found += tiles
                break
            side = side // 2 // scale * scale
    return found


def _draw(patches: list[Window], share: float, seed: int) -> tuple[list[Window], list[Window]]:
    """Patches that train, and the share of them that tunes: at least one of each, if any."""
    count = min(max(1, round(share * len(patches))), len(patches) - 1) if share else 0
    order = np.random.default_rng(seed).permutation(len(patches))
    drawn = set(order[: max(count, 0)].tolist())
    train = [window for index, window in enumerate(patches) if index not in drawn]
    return train, [window for index, window in enumerate(patches) if index in drawn]
